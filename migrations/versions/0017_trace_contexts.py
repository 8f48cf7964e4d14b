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
    """Apply, one lock at a time: requests lock the two tables in another order. No row is rewritten."""
    traceparent = sa.Column("traceparent", sa.Text())
    receivers = sa.Column("send_traceparent", postgresql.ARRAY(sa.Text()))
    with op.get_context().autocommit_block():
        op.add_column("job", traceparent, if_not_exists=True)
        op.add_column("tenant", receivers, if_not_exists=True)


def downgrade() -> None:
    """Take back, one lock at a time."""
    with op.get_context().autocommit_block():
        op.drop_column("tenant", "send_traceparent", if_exists=True)
        op.drop_column("job", "traceparent", if_exists=True)
