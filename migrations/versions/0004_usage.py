"""Usage: roll-ups with histograms, retries, batches and webhooks, by the hour and by the day.

Existing roll-ups are copied without the sums that did not exist then; `gateway db check-usage --fix` adds
those from the rows. The old table stays, because workers of the previous version write to it.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_TIME = sa.DateTime(timezone=True)
_NONE = sa.text("0")
_MOVE = """
WITH moved AS (DELETE FROM usage_hour RETURNING *), hourly AS (
  INSERT INTO usage_hourly (tenant_id, hour, workflow, status, error_code, batch_name, shard, jobs,
    submitted, wait_microseconds, run_microseconds, total_microseconds)
  SELECT tenant_id, hour, workflow, status, error_code, '', 0, jobs, jobs,
    wait_seconds * 1000000, run_seconds * 1000000, (wait_seconds + run_seconds) * 1000000 FROM moved
)
INSERT INTO usage_daily (tenant_id, day, workflow, status, error_code, shard, jobs, submitted,
  wait_microseconds, run_microseconds, total_microseconds)
SELECT tenant_id, date_trunc('day', hour, 'UTC') AS day, workflow, status, error_code, 0, sum(jobs),
  sum(jobs), sum(wait_seconds) * 1000000, sum(run_seconds) * 1000000,
  sum(wait_seconds + run_seconds) * 1000000
FROM moved GROUP BY tenant_id, day, workflow, status, error_code"""
_MOVE_BACK = """
INSERT INTO usage_hour AS h
SELECT tenant_id, hour, workflow, status, error_code, sum(jobs), sum(wait_microseconds) / 1e6,
  sum(run_microseconds) / 1e6
FROM usage_hourly WHERE jobs > 0 GROUP BY tenant_id, hour, workflow, status, error_code
ON CONFLICT (tenant_id, hour, workflow, status, error_code) DO UPDATE SET
  jobs = h.jobs + excluded.jobs, wait_seconds = h.wait_seconds + excluded.wait_seconds,
  run_seconds = h.run_seconds + excluded.run_seconds"""


def _key(*names: str) -> list[sa.Column[object]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _sums() -> list[sa.Column[object]]:
    counts = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
    times = ("wait", "run", "total")
    sums = (*counts, *(f"{name}_microseconds" for name in times))
    return [
        *(sa.Column(name, sa.BigInteger(), server_default=_NONE, nullable=False) for name in sums),
        *(
            sa.Column(f"{name}_histogram", sa.Numeric(), server_default=_NONE, nullable=False)
            for name in times
        ),
    ]


def _create(name: str, span: str, *names: str) -> None:
    op.create_table(
        name,
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column(span, _TIME, nullable=False),
        *_key(*names),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        *_sums(),
        sa.PrimaryKeyConstraint("tenant_id", span, *names, "shard", name=op.f(f"{name}_pkey")),
        postgresql_with={"fillfactor": "70", "toast_tuple_target": "8160"},
    )


def upgrade() -> None:
    """Apply."""
    op.execute(
        "CREATE AGGREGATE histogram_sum (numeric) (sfunc = numeric_add, stype = numeric,"
        " combinefunc = numeric_add, parallel = safe)"
    )
    # sum(bigint) returns a numeric, which takes longer to compute and to read.
    op.execute(
        "CREATE AGGREGATE bigint_sum (bigint) (sfunc = int8pl, stype = bigint,"
        " combinefunc = int8pl, parallel = safe)"
    )
    _create("usage_hourly", "hour", "workflow", "status", "error_code", "batch_name")
    _create("usage_daily", "day", "workflow", "status", "error_code")
    op.create_table(
        "usage_horizon",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("until", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("usage_horizon_pkey")),
    )
    op.execute(_MOVE)


def downgrade() -> None:
    """Revert."""
    op.execute(_MOVE_BACK)
    for name in ("usage_horizon", "usage_daily", "usage_hourly"):
        op.drop_table(name)
    op.execute("DROP AGGREGATE histogram_sum (numeric)")
    op.execute("DROP AGGREGATE bigint_sum (bigint)")
