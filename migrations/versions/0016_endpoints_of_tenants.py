"""A cap on the endpoints of a tenant, and an index of the audit by tenant."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply, without blocking writes."""
    op.add_column("tenant", sa.Column("max_endpoints", sa.Integer()))
    with op.get_context().autocommit_block():
        op.create_index(
            "audit_tenant_id_id",
            "audit",
            ["tenant_id", "id"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """Revert."""
    op.drop_index("audit_tenant_id_id", "audit")
    op.drop_column("tenant", "max_endpoints")
