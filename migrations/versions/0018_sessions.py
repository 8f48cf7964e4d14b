"""Sessions and the one-time links that open them; indexes for the search box."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# As in 0006. Statements for tenants have no rights on these tables.
_POLICY = """
CREATE POLICY of_tenant ON {table} USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR tenant_id = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""


def _columns() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("key_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("pages", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("return_url", sa.Text(), nullable=True),
        sa.Column("theme", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    ]


def _create(table: str, *more: sa.Column[object]) -> None:
    op.create_table(
        table,
        *_columns(),
        *more,
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f(f"{table}_tenant_id_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f(f"{table}_pkey")),
        sa.UniqueConstraint("digest", name=op.f(f"{table}_digest_key")),
    )
    op.create_index(op.f(f"{table}_tenant_id"), table, ["tenant_id"])
    op.create_index(op.f(f"{table}_expires_at"), table, ["expires_at"])
    op.execute(_POLICY.format(table=table))
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def upgrade() -> None:
    """Apply: two new tables, and two indexes without blocking writes."""
    _create(
        "session",
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
    )
    _create("session_link", sa.Column("used_at", sa.DateTime(timezone=True), nullable=True))
    with op.get_context().autocommit_block():
        op.create_index(
            "job_ended_upstream_id",
            "job",
            [sa.text("hashtextextended(upstream_id, 0)")],
            postgresql_where=sa.text("completed_at IS NOT NULL AND upstream_id IS NOT NULL"),
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_index(
            "tenant_slug_prefix",
            "tenant",
            ["slug"],
            postgresql_ops={"slug": "text_pattern_ops"},
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """Revert, one lock at a time; every session ends."""
    with op.get_context().autocommit_block():
        for name, table in (("tenant_slug_prefix", "tenant"), ("job_ended_upstream_id", "job")):
            op.drop_index(name, table, postgresql_concurrently=True, if_exists=True)
        for table in ("session_link", "session"):
            op.drop_table(table, if_exists=True)
