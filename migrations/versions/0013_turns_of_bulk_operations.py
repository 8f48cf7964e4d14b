"""Indexes of bulk operations by the tenant whose turn it is, and by the time of their end."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_INDEXES = (
    ("bulk_running", ["tenant_id", "next_at"], "state = 'running'"),
    ("bulk_tenant_id_completed_at", ["tenant_id", "completed_at"], "completed_at IS NOT NULL"),
)


def upgrade() -> None:
    """Apply, without blocking writes."""
    with op.get_context().autocommit_block():
        for name, columns, where in _INDEXES:
            op.create_index(
                name,
                "bulk",
                columns,
                postgresql_where=sa.text(where),
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    """Revert, without blocking writes."""
    with op.get_context().autocommit_block():
        for name, _, _ in reversed(_INDEXES):
            op.drop_index(name, "bulk", postgresql_concurrently=True, if_exists=True)
