"""The processes, each with its last heartbeat, and the time of the last sweep."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0012"
down_revision: str | None = "0011"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "process",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("did", sa.Text(), nullable=True),
        sa.Column("did_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("clock_ahead", sa.Double(), nullable=False),
        sa.Column("redis", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("process_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.add_column("beacon", sa.Column("swept_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Revert, one lock at a time."""
    with op.get_context().autocommit_block():
        op.drop_column("beacon", "swept_at", if_exists=True)
        op.drop_table("process", if_exists=True)
