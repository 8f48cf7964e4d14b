"""Roll-ups of ended jobs and their webhooks, and the time up to which their rows may be pruned."""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from gateway.store.schema.common import Time, metadata, owner_without_key

_NONE = text("0")


def _outcome_columns(since: str) -> list[Column[object]]:
    return [
        owner_without_key(),
        Column(since, Time, nullable=False),
        Column("workflow", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("error_code", Text, nullable=False),  # empty if there was no error
    ]


def _sum_columns() -> list[Column[object]]:
    counts = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
    times = ("wait", "run", "total")
    sums = (*counts, *(f"{name}_microseconds" for name in times))
    return [
        *(Column(name, BigInteger, nullable=False, server_default=_NONE) for name in sums),
        # A histogram is one number, whose digits are the counts of its buckets: core/histogram.py.
        *(
            Column(f"{name}_histogram", Numeric, nullable=False, server_default=_NONE)
            for name in times
        ),
    ]


# Keeps histograms uncompressed in their row, so that adding to them stays cheap.
_STORED = {"fillfactor": "70", "toast_tuple_target": "8160"}

# Rows stay when their tenant is erased. Concurrent writers use different shards, and readers add them up.
usage_hourly = Table(
    "usage_hourly",
    metadata,
    *_outcome_columns("hour"),
    Column("batch_name", Text, nullable=False),  # empty if there was no batch
    Column("shard", SmallInteger, nullable=False),
    *_sum_columns(),
    PrimaryKeyConstraint(
        "tenant_id", "hour", "workflow", "status", "error_code", "batch_name", "shard"
    ),
    postgresql_with=_STORED,
)

# The same by day and without batches, because most queries are about days.
usage_daily = Table(
    "usage_daily",
    metadata,
    *_outcome_columns("day"),
    Column("shard", SmallInteger, nullable=False),
    *_sum_columns(),
    PrimaryKeyConstraint("tenant_id", "day", "workflow", "status", "error_code", "shard"),
    Index("usage_daily_day", "day"),
    postgresql_with=_STORED,
)

# Rows up to this time may have been pruned; the roll-ups still count them.
usage_horizon = Table(
    "usage_horizon",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("until", Time, nullable=False),
)

# No longer read. Workers of the previous version still add to it during a rolling upgrade.
usage_hour = Table(
    "usage_hour",
    metadata,
    *_outcome_columns("hour"),
    Column("jobs", BigInteger, nullable=False),
    Column("wait_seconds", DOUBLE_PRECISION, nullable=False),
    Column("run_seconds", DOUBLE_PRECISION, nullable=False),
    PrimaryKeyConstraint("tenant_id", "hour", "workflow", "status", "error_code"),
    postgresql_with={"fillfactor": "70"},
)
