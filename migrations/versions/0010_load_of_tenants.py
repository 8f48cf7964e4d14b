"""Counters of the waiting and in-flight jobs of each tenant, kept by triggers, as counting is slow."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_IN_FLIGHT = "state IN ('submitting', 'submitted', 'running')"
# Adds up the changes of a statement for each tenant. Connections add to different rows, so they seldom wait
# for each other. Those that share a row do not deadlock, because the rows are sorted.
_ADD = """
CREATE OR REPLACE FUNCTION job_load_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO tenant_load AS l (tenant_id, shard, waiting, in_flight)
  SELECT tenant_id, pg_backend_pid() % 16, sum(waiting), sum(in_flight) FROM ({changed}) AS c
  GROUP BY tenant_id HAVING sum(waiting) <> 0 OR sum(in_flight) <> 0 ORDER BY tenant_id
  ON CONFLICT (tenant_id, shard) DO UPDATE SET
    waiting = l.waiting + excluded.waiting, in_flight = l.in_flight + excluded.in_flight;
  RETURN NULL; END $$"""
_ROWS = f"""
    SELECT tenant_id, {{sign}}(state = 'accepted')::int AS waiting, {{sign}}({_IN_FLIGHT})::int
      AS in_flight FROM {{table}}"""
_MADE, _GONE = _ROWS.format(sign="", table="made"), _ROWS.format(sign="-", table="gone")
_TRIGGERS = {
    "insert": ("REFERENCING NEW TABLE AS made", _MADE),
    "update": (
        "REFERENCING OLD TABLE AS gone NEW TABLE AS made",
        f"{_MADE} UNION ALL{_GONE}",
    ),
    "delete": ("REFERENCING OLD TABLE AS gone", _GONE),
}
_POLICY = """
CREATE POLICY of_tenant ON tenant_load USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR tenant_id = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""
_FILL = f"""
INSERT INTO tenant_load (tenant_id, shard, waiting, in_flight)
SELECT tenant_id, 0, count(*) FILTER (WHERE state = 'accepted'), count(*) FILTER (WHERE {_IN_FLIGHT})
FROM job WHERE state IN ('accepted', 'submitting', 'submitted', 'running') GROUP BY tenant_id"""


def upgrade() -> None:
    """Apply, in one transaction: no job changes between the triggers and the first count."""
    op.create_table(
        "tenant_load",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("waiting", sa.BigInteger(), nullable=False),
        sa.Column("in_flight", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "shard", name=op.f("tenant_load_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.execute(_POLICY)
    op.execute("ALTER TABLE tenant_load ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE tenant_load FORCE ROW LEVEL SECURITY")
    op.execute("GRANT SELECT, INSERT, UPDATE ON tenant_load TO gateway_tenant")
    for event, (tables, changed) in _TRIGGERS.items():
        op.execute(_ADD.format(event=event, changed=changed))
        op.execute(
            f"CREATE TRIGGER job_load_{event} AFTER {event.upper()} ON job {tables}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION job_load_{event}()"
        )
    op.execute(
        "CREATE OR REPLACE FUNCTION job_load_truncate() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN DELETE FROM tenant_load; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER job_load_truncate AFTER TRUNCATE ON job"
        " FOR EACH STATEMENT EXECUTE FUNCTION job_load_truncate()"
    )
    op.execute(_FILL)


def downgrade() -> None:
    """Revert."""
    for event in (*_TRIGGERS, "truncate"):
        op.execute(f"DROP TRIGGER job_load_{event} ON job")
        op.execute(f"DROP FUNCTION job_load_{event}")
    op.drop_table("tenant_load")
