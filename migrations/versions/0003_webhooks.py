"""Webhooks: endpoint options and health, replays, the order of the feed, bulk operations."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)
_FAILED = "state IN ('exhausted', 'parked')"
_INDEXES = (
    ("endpoint_capped", "endpoint", ["id"], "rate_limit IS NOT NULL OR concurrency IS NOT NULL"),
    ("event_tenant_id_xact_id", "event", ["tenant_id", "xact", "id"], None),
    ("event_tenant_id_created_at_id", "event", ["tenant_id", "created_at", "id"], None),
    (
        "delivery_tenant_id_endpoint_id_id",
        "delivery",
        ["tenant_id", "endpoint_id", "id"],
        "endpoint_id IS NOT NULL",
    ),
    ("delivery_event_id_endpoint_id", "delivery", ["event_id", "endpoint_id"], None),
    ("delivery_undelivered", "delivery", ["tenant_id", "state", "id"], "state <> 'delivered'"),
    ("delivery_unusual", "delivery", ["tenant_id", "type", "id"], "type <> 'job.succeeded'"),
    ("delivery_failed_of_endpoint", "delivery", ["tenant_id", "endpoint_id", "id"], _FAILED),
    (
        "delivery_tenant_id_last_class_id",
        "delivery",
        ["tenant_id", "last_class", "id"],
        "last_class IS NOT NULL",
    ),
    (
        "delivery_tenant_id_resent_at",
        "delivery",
        ["tenant_id", "resent_at"],
        "resent_at IS NOT NULL",
    ),
)
# Workers of the previous version do not set the type of a delivery.
_TYPE_FUNCTION = """
CREATE OR REPLACE FUNCTION delivery_type() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  NEW.type := (SELECT type FROM event WHERE id = NEW.event_id);
  RETURN NEW;
END $$"""
_TYPE_TRIGGER = """
CREATE OR REPLACE TRIGGER delivery_type BEFORE INSERT ON delivery FOR EACH ROW
WHEN (NEW.type IS NULL) EXECUTE FUNCTION delivery_type()"""
# The types of existing deliveries, a few thousand at a time, so that no lock is held for long.
_FILL_TYPES = """
WITH next AS MATERIALIZED (
  SELECT id, event_id FROM delivery WHERE id > CAST(:after AS uuid) ORDER BY id LIMIT 5000
), filled AS (
  UPDATE delivery d SET type = e.type FROM next n JOIN event e ON e.id = n.event_id
  WHERE d.id = n.id AND d.type IS NULL
)
SELECT id FROM next ORDER BY id DESC LIMIT 1"""
_UNIQUE = frozenset({"delivery_event_id_endpoint_id"})


def _columns() -> dict[str, tuple[sa.Column[object], ...]]:
    return {
        "endpoint": (
            sa.Column("algorithm", sa.Text(), server_default="v1", nullable=False),
            sa.Column(
                "header_names", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False
            ),
            sa.Column("headers_sealed", sa.LargeBinary()),
            sa.Column("delays", postgresql.ARRAY(sa.Integer())),
            sa.Column("concurrency", sa.Integer()),
            sa.Column("rate_limit", sa.Integer()),
            sa.Column("tokens", postgresql.DOUBLE_PRECISION(), server_default="0", nullable=False),
            sa.Column("tokens_at", _TIME, server_default=sa.text("'-infinity'"), nullable=False),
            sa.Column("failing_since", _TIME),
            sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        ),
        "signing_secret": (
            sa.Column("algorithm", sa.Text(), server_default="v1", nullable=False),
            sa.Column("public_key", sa.LargeBinary()),
        ),
        "event": (
            sa.Column("endpoint_id", sa.Uuid()),
            sa.Column("is_sample", sa.Boolean(), server_default=sa.text("false"), nullable=False),
            sa.Column("xact", sa.BigInteger(), server_default="0", nullable=False),
        ),
        "delivery": (
            sa.Column("spared", sa.Integer(), server_default="0", nullable=False),
            sa.Column("resent_at", _TIME),
            sa.Column("type", sa.Text()),
            sa.Column("last_class", sa.Text()),
        ),
        "attempt": (
            sa.Column("timings", postgresql.JSON(astext_type=sa.Text())),
            sa.Column("next_at", _TIME),
        ),
    }


def upgrade() -> None:
    """Apply, one lock at a time. After a failure, the steps that were done are skipped the next time."""
    with op.get_context().autocommit_block():
        for table, columns in _columns().items():
            for column in columns:
                op.add_column(table, column, if_not_exists=True)
        # Set after the column was added: with the column it would rewrite the whole table.
        op.alter_column(
            "event", "xact", server_default=sa.text("pg_current_xact_id()::text::bigint")
        )
        _fill_types()
        for name, table, columns_, where in _INDEXES:
            op.create_index(
                name,
                table,
                columns_,
                postgresql_where=sa.text(where) if where else None,
                unique=name in _UNIQUE,
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        op.drop_index("event_tenant_id_id", table_name="event", if_exists=True)
        _create_bulk()


def _fill_types() -> None:
    op.execute(_TYPE_FUNCTION)
    op.execute(_TYPE_TRIGGER)
    # One index probe for each event: hashing the whole table in every step would take hours.
    ways = [f"enable_{name}" for name in ("hashjoin", "mergejoin", "seqscan")]
    for way in ways:
        op.execute(f"SET {way} = off")
    after: object = "00000000-0000-0000-0000-000000000000"
    while after is not None:
        after = op.get_bind().execute(sa.text(_FILL_TYPES), {"after": str(after)}).scalar()
    for way in ways:
        op.execute(f"RESET {way}")


def _create_bulk() -> None:
    op.create_table(
        "bulk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Uuid()),
        sa.Column("filter", postgresql.JSON(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cursor", sa.Uuid()),
        sa.Column("until", sa.Uuid(), nullable=False),
        sa.Column("next_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("lease_token", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("completed_at", _TIME),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("bulk_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("bulk_pkey")),
        if_not_exists=True,
    )
    op.create_index("bulk_tenant_id_id", "bulk", ["tenant_id", "id"], if_not_exists=True)
    running = sa.text("state = 'running'")
    op.create_index("bulk_due", "bulk", ["next_at"], postgresql_where=running, if_not_exists=True)


def downgrade() -> None:
    """Revert."""
    op.drop_table("bulk")
    op.create_index("event_tenant_id_id", "event", ["tenant_id", "id"])
    for name, table, _, where in _INDEXES:
        where_text = sa.text(where) if where else None
        op.drop_index(name, table_name=table, postgresql_where=where_text)
    op.execute("DROP TRIGGER delivery_type ON delivery")
    op.execute("DROP FUNCTION delivery_type")
    for table, columns in _columns().items():
        for column in columns:
            op.drop_column(table, column.name)
