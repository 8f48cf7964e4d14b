"""Roll-ups of ended jobs and of the webhooks about them, and what may be missing beneath them."""

from sqlalchemy import (
    BigInteger,
    Column,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import DOUBLE_PRECISION

from gateway.store.schema.common import Time, metadata, owner_of_many

_NONE = text("0")


def _outcomes(since: str) -> list[Column[object]]:
    return [
        owner_of_many(),
        Column(since, Time, nullable=False),
        Column("workflow", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("error_code", Text, nullable=False),  # empty where there was no error
    ]


def _sums() -> list[Column[object]]:
    counts = ("jobs", "submitted", "retries", "webhooks_delivered", "webhooks_failed")
    times = ("wait", "run", "total")
    sums = (*counts, *(f"{name}_microseconds" for name in times))
    return [
        *(Column(name, BigInteger, nullable=False, server_default=_NONE) for name in sums),
        # One number each, whose digits are the counts of buckets: core/histogram.py.
        *(
            Column(f"{name}_histogram", Numeric, nullable=False, server_default=_NONE)
            for name in times
        ),
    ]


# A histogram stays in its row, uncompressed, so that adding to it stays cheap.
_STORED = {"fillfactor": "70", "toast_tuple_target": "8160"}

# The tenant may be gone. Writers that come at once are spread over shards; all shards are summed.
usage_hourly = Table(
    "usage_hourly",
    metadata,
    *_outcomes("hour"),
    Column("batch_name", Text, nullable=False),  # empty where there was no batch
    Column("shard", SmallInteger, nullable=False),
    *_sums(),
    PrimaryKeyConstraint(
        "tenant_id", "hour", "workflow", "status", "error_code", "batch_name", "shard"
    ),
    postgresql_with=_STORED,
)

# The same without batches, a day long: days are what most questions are about.
usage_daily = Table(
    "usage_daily",
    metadata,
    *_outcomes("day"),
    Column("shard", SmallInteger, nullable=False),
    *_sums(),
    PrimaryKeyConstraint("tenant_id", "day", "workflow", "status", "error_code", "shard"),
    postgresql_with=_STORED,
)

# Until when rows may have been pruned that the roll-ups still count.
usage_horizon = Table(
    "usage_horizon",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("until", Time, nullable=False),
)

# Nobody reads it: workers of the version before still add to it while they are being replaced.
usage_hour = Table(
    "usage_hour",
    metadata,
    *_outcomes("hour"),
    Column("jobs", BigInteger, nullable=False),
    Column("wait_seconds", DOUBLE_PRECISION, nullable=False),
    Column("run_seconds", DOUBLE_PRECISION, nullable=False),
    PrimaryKeyConstraint("tenant_id", "hour", "workflow", "status", "error_code"),
    postgresql_with={"fillfactor": "70"},
)
