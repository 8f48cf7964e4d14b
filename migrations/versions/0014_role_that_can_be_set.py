"""The login that created the role of tenants may set it.

Since Postgres 16 the creator of a role is a member that may grant the role, but may not set it.
"""

from collections.abc import Sequence

from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_SETTABLE = """
DO $$ BEGIN
  IF current_setting('server_version_num')::int >= 160000 THEN
    IF NOT pg_has_role(current_user, 'gateway_tenant', 'SET') THEN
      EXECUTE format('GRANT gateway_tenant TO %I WITH SET TRUE', current_user);
    END IF;
  END IF;
END $$"""


def upgrade() -> None:
    """Apply."""
    op.execute(_SETTABLE)


def downgrade() -> None:
    """Revert nothing: the grant does no harm, and other databases of the server may use it."""
