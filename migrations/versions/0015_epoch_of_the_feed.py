"""An epoch before the transaction ids of the feed, so that a database can move to another cluster."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_OLDEST_UNDER_WAY = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
# In a database that was moved before, new events come after all the events that it brought along.
_MOVED_BEFORE = f"""
UPDATE beacon SET horizon = last.xact + 1 FROM (
  SELECT max(e.xact) AS xact FROM tenant t CROSS JOIN LATERAL (
    SELECT xact FROM event f WHERE f.tenant_id = t.id ORDER BY f.xact DESC LIMIT 1) AS e) AS last
WHERE last.xact >= {_OLDEST_UNDER_WAY}"""


def upgrade() -> None:
    """Apply."""
    op.add_column("beacon", sa.Column("epoch", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "beacon", sa.Column("horizon", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("beacon", sa.Column("cluster", sa.BigInteger(), nullable=True))
    op.execute("GRANT SELECT (epoch, horizon) ON beacon TO gateway_tenant")
    op.execute(_MOVED_BEFORE)


def downgrade() -> None:
    """Revert."""
    op.execute("REVOKE SELECT (epoch, horizon) ON beacon FROM gateway_tenant")
    for name in ("cluster", "horizon", "epoch"):
        op.drop_column("beacon", name)
