"""Guards of the engine: strikes, fewer submits after failures, a beacon that reveals a restore."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_JOB_SUSPECT = sa.text("state = 'accepted' AND strikes >= 2")
_DELIVERY_SUSPECT = sa.text("state = 'pending' AND strikes >= 2")


def upgrade() -> None:
    """Apply, one lock at a time. After a failure, the steps that were done are skipped the next time."""
    with op.get_context().autocommit_block():
        beacon = op.create_table(
            "beacon",
            sa.Column("id", sa.Uuid(), nullable=False),
            sa.Column("count", sa.BigInteger(), server_default="0", nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f("beacon_pkey")),
            if_not_exists=True,
        )
        op.execute(sa.delete(beacon))
        op.execute(sa.insert(beacon).values(id=sa.func.gen_random_uuid()))
        room = sa.Column("submit_room", sa.Integer(), nullable=True)
        op.add_column("credential", room, if_not_exists=True)
        broken = sa.Column("poll_strikes", sa.SmallInteger(), server_default="0", nullable=False)
        op.add_column("credential", broken, if_not_exists=True)
        for table, name, where in (
            ("job", "job_suspect", _JOB_SUSPECT),
            ("delivery", "delivery_suspect", _DELIVERY_SUSPECT),
        ):
            strikes = sa.Column("strikes", sa.SmallInteger(), server_default="0", nullable=False)
            op.add_column(table, strikes, if_not_exists=True)
            op.create_index(
                name,
                table,
                ["next_at"],
                postgresql_where=where,
                postgresql_concurrently=True,
                if_not_exists=True,
            )


def downgrade() -> None:
    """Revert."""
    op.drop_index("delivery_suspect", table_name="delivery", postgresql_where=_DELIVERY_SUSPECT)
    op.drop_index("job_suspect", table_name="job", postgresql_where=_JOB_SUSPECT)
    op.drop_column("delivery", "strikes")
    op.drop_column("job", "strikes")
    op.drop_column("credential", "poll_strikes")
    op.drop_column("credential", "submit_room")
    op.drop_table("beacon")
