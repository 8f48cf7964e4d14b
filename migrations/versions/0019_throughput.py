"""What each process did in each minute, ten minutes and hour, for charts."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_COUNTS = ("accepted", "refused", "succeeded", "failed", "delivered", "undelivered")
_DURATIONS = ("wait", "run", "total", "attempt")


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "throughput",
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("process_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        *(sa.Column(f"{name}_histogram", sa.Numeric(), nullable=False) for name in _DURATIONS),
        sa.PrimaryKeyConstraint("step", "at", "process_id", name=op.f("throughput_pkey")),
        postgresql_with={"fillfactor": "50", "toast_tuple_target": "8160"},
    )


def downgrade() -> None:
    """Revert."""
    op.drop_table("throughput")
