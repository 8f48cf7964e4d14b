"""The end of a submit whose outcome is unknown; a lookup searches up to this time."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply."""
    op.add_column("job", sa.Column("sent_until", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Revert."""
    op.drop_column("job", "sent_until")
