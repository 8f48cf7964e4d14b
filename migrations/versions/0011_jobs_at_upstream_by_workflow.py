"""An index of the jobs at the upstream by workflow and age; tenant_load counts those in flight."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_AT_UPSTREAM = sa.text("state IN ('submitted', 'running')")
_IN_FLIGHT = sa.text("state IN ('submitting', 'submitted', 'running')")


def upgrade() -> None:
    """Apply, without blocking writes."""
    with op.get_context().autocommit_block():
        op.create_index(
            "job_at_upstream_by_workflow",
            "job",
            ["credential_id", "workflow", "submitted_at"],
            postgresql_where=_AT_UPSTREAM,
            postgresql_concurrently=True,
            if_not_exists=True,
        )
        for name in ("job_at_upstream", "job_in_flight"):
            op.drop_index(name, "job", postgresql_concurrently=True, if_exists=True)


def downgrade() -> None:
    """Revert, without blocking writes."""
    with op.get_context().autocommit_block():
        for name, columns, where in (
            ("job_at_upstream", ["credential_id", "submitted_at"], _AT_UPSTREAM),
            ("job_in_flight", ["tenant_id"], _IN_FLIGHT),
        ):
            op.create_index(
                name,
                "job",
                columns,
                postgresql_where=where,
                postgresql_concurrently=True,
                if_not_exists=True,
            )
        op.drop_index(
            "job_at_upstream_by_workflow", "job", postgresql_concurrently=True, if_exists=True
        )
