"""Row-level security: statements for tenants can neither read nor write rows of other tenants."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_WRITTEN = (
    "attempt",
    "bulk",
    "delivery",
    "endpoint",
    "event",
    "job",
    "job_event",
    "signing_secret",
    "usage_daily",
    "usage_hourly",
)
_READ = ("prune_cursor", "usage_horizon")
_HIDDEN = ("access_key", "audit", "credential", "usage_hour")
_ROLE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gateway_tenant') THEN
    CREATE ROLE gateway_tenant NOLOGIN NOINHERIT;
  END IF;
  IF NOT pg_has_role(current_user, 'gateway_tenant', 'MEMBER') THEN
    EXECUTE format('GRANT gateway_tenant TO %I', current_user);
  END IF;
EXCEPTION
  WHEN duplicate_object OR unique_violation THEN NULL;  -- made at the same time for another database
  WHEN insufficient_privilege THEN
    RAISE EXCEPTION 'the role gateway_tenant is missing, and % may not make it', current_user
      USING HINT = 'As an administrator: CREATE ROLE gateway_tenant NOLOGIN; GRANT gateway_tenant TO '
        || quote_ident(current_user);
END $$"""
# Without tenants in the setting, as in the batches of the engine, all rows are visible, but none in the role
# of tenants. The subselects are evaluated once for each statement, not for each row.
_POLICY = """
CREATE POLICY of_tenant ON {table} USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR {column} = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""


def upgrade() -> None:
    """Apply, one lock at a time."""
    op.execute(_ROLE)
    schema = op.get_bind().execute(sa.text("SELECT quote_ident(current_schema())")).scalar_one()
    with op.get_context().autocommit_block():
        op.execute(f"GRANT USAGE ON SCHEMA {schema} TO gateway_tenant")
        for table in (*_WRITTEN, *_READ, *_HIDDEN, "tenant"):
            op.execute(f"DROP POLICY IF EXISTS of_tenant ON {table}")
            column = "id" if table == "tenant" else "tenant_id"
            op.execute(_POLICY.format(table=table, column=column))
            op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
            op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        for table in _WRITTEN:
            op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO gateway_tenant")
        for table in _READ:
            op.execute(f"GRANT SELECT ON {table} TO gateway_tenant")
        # Locking the row needs the right to update it.
        op.execute("GRANT SELECT, UPDATE ON tenant TO gateway_tenant")


def downgrade() -> None:
    """Revert, except for the role, which other databases of the server may use."""
    for table in (*_WRITTEN, *_READ, *_HIDDEN, "tenant"):
        op.execute(f"REVOKE ALL ON {table} FROM gateway_tenant")
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
        op.execute(f"DROP POLICY of_tenant ON {table}")
