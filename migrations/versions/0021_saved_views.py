"""Views of lists that people keep by name."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0021"
down_revision: str | None = "0020"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# As in 0006. Statements for tenants have no rights on this table.
_POLICY = """
CREATE POLICY of_tenant ON saved_view USING (
  (SELECT COALESCE(current_setting('gateway.tenants', true), '') = ''
    AND current_user <> 'gateway_tenant')
  OR tenant_id = ANY ((SELECT string_to_array(current_setting('gateway.tenants', true), ',')::uuid[])::uuid[]))"""


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "saved_view",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("is_shared", sa.Boolean(), nullable=False),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenant.id"], name=op.f("saved_view_tenant_id_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("saved_view_pkey")),
    )
    of_staff, of_tenant = sa.text("tenant_id IS NULL"), sa.text("tenant_id IS NOT NULL")
    op.create_index(
        "saved_view_of_staff",
        "saved_view",
        ["owner", "name"],
        unique=True,
        postgresql_where=of_staff,
    )
    op.create_index(
        "saved_view_of_tenant",
        "saved_view",
        ["tenant_id", "name"],
        unique=True,
        postgresql_where=of_tenant,
    )
    op.create_index(
        "saved_view_shared",
        "saved_view",
        ["name"],
        postgresql_where=sa.text("tenant_id IS NULL AND is_shared"),
    )
    op.execute(_POLICY)
    op.execute("ALTER TABLE saved_view ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE saved_view FORCE ROW LEVEL SECURITY")


def downgrade() -> None:
    """Revert; saved views are lost."""
    op.drop_table("saved_view")
