"""How the portal of a tenant looks, and which pages may show it in a frame."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0020"
down_revision: str | None = "0019"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# As in 0006. Statements for tenants have no rights on this table.
_POLICY = """
CREATE POLICY of_tenant ON portal_look USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR tenant_id = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "portal_look",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("accent", sa.Text(), nullable=True),
        sa.Column("logo_url", sa.Text(), nullable=True),
        sa.Column("mode", sa.Text(), nullable=True),
        sa.Column("frame_ancestors", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("portal_look_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("portal_look_pkey")),
    )
    op.execute(_POLICY)
    op.execute("ALTER TABLE portal_look ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE portal_look FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Revert; portals look like the gateway again."""
    op.drop_table("portal_look")
