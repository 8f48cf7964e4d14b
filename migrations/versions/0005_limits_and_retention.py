"""Limits and retention of tenants."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_COUNTS = ("max_rate", "keep_payloads", "keep_jobs", "keep_attempts", "keep_events")


def upgrade() -> None:
    """Apply."""
    for name in _COUNTS:
        op.add_column("tenant", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("tenant", sa.Column("pruned_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "prune_cursor",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", "kind", name=op.f("prune_cursor_pkey")),
    )


def downgrade() -> None:
    """Revert."""
    op.drop_table("prune_cursor")
    op.drop_column("tenant", "pruned_at")
    for name in reversed(_COUNTS):
        op.drop_column("tenant", name)
