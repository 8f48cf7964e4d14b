"""A job keeps the trace context of its request, and a tenant says who is sent one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Apply; no row is rewritten."""
    op.add_column("job", sa.Column("traceparent", sa.Text()))
    op.add_column("tenant", sa.Column("send_traceparent", postgresql.ARRAY(sa.Text())))


def downgrade() -> None:
    """Take back."""
    op.drop_column("tenant", "send_traceparent")
    op.drop_column("job", "traceparent")
