"""The role of tenants can be taken on by who made it.

Since Postgres 16 whoever makes a role is a member of it that may grant it, yet may not take it on.
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
    """Take back nothing: the grant is of no harm, and other databases of the server may use it."""
