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
    with op.get_context().autocommit_block():
        op.add_column("tenant", sa.Column("max_endpoints", sa.Integer()), if_not_exists=True)
        op.create_index(
            "audit_tenant_id_id",
            "audit",
            ["tenant_id", "id"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )


def downgrade() -> None:
    """Revert, one lock at a time."""
    with op.get_context().autocommit_block():
        op.drop_index("audit_tenant_id_id", "audit", postgresql_concurrently=True, if_exists=True)
        op.drop_column("tenant", "max_endpoints", if_exists=True)
