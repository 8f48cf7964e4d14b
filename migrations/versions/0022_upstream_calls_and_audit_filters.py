"""Calls of the upstream in the throughput, and indexes for pages: the audit log, dead letters, usage."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0022"
down_revision: str | None = "0021"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_INDEXES = {
    "audit_action_id": (["action", "id"], None),
    "audit_key_id_id": (["key_id", "id"], None),
    "audit_of_tenants": (["subject", "id"], sa.text("action LIKE 'tenant.%'")),
}
_OF_DEAD = [
    *("tenant_id", "event_id", "job_id", "endpoint_id", "last_class", "last_status", "created_at"),
]
_COUNTS = ("calls_answered", "calls_limited", "calls_failed")


def upgrade() -> None:
    """Apply."""
    for name in _COUNTS:
        op.add_column(
            "throughput",
            sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"),
            if_not_exists=True,
        )
    op.add_column(
        "throughput",
        sa.Column("call_histogram", sa.Numeric(), nullable=False, server_default="0"),
        if_not_exists=True,
    )
    with op.get_context().autocommit_block():
        op.create_index(
            "delivery_dead",
            "delivery",
            ["id"],
            postgresql_where=sa.text("state = 'exhausted'"),
            postgresql_include=_OF_DEAD,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        op.create_index(
            "usage_daily_day",
            "usage_daily",
            ["day"],
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        for name, (columns, where) in _INDEXES.items():
            op.create_index(
                name,
                "audit",
                columns,
                postgresql_where=where,
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    """Revert."""
    with op.get_context().autocommit_block():
        op.drop_index(
            "usage_daily_day", "usage_daily", postgresql_concurrently=True, if_exists=True
        )
        op.drop_index("delivery_dead", "delivery", postgresql_concurrently=True, if_exists=True)
        for name in _INDEXES:
            op.drop_index(name, "audit", postgresql_concurrently=True, if_exists=True)
    for name in ("call_histogram", *_COUNTS):
        op.drop_column("throughput", name)
