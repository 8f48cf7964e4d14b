"""The processes with their heartbeats and their throughput, and the beacon that reveals a restore."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Integer,
    Numeric,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
)

from gateway.store.schema.common import Time, metadata, own_id

process = Table(
    "process",
    metadata,
    own_id(),
    Column("kind", Text, nullable=False),  # api or worker
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_at", Time, nullable=False),
    Column("seen_at", Time, nullable=False),
    Column("stopped_at", Time),
    Column("did", Text),  # the last unit of work, and how it ended
    Column("did_at", Time),
    # How many seconds the clock of its host is ahead of that of Postgres.
    Column("clock_ahead", Double, nullable=False),
    Column("redis", Boolean, nullable=False),
    postgresql_with={"fillfactor": "50"},
)

# What each process did in each span of `step` minutes, for charts. A histogram is one number, see usage.py.
throughput = Table(
    "throughput",
    metadata,
    Column("step", SmallInteger, nullable=False),
    Column("at", Time, nullable=False),
    Column("process_id", Uuid, nullable=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("accepted", "refused", "succeeded", "failed", "delivered", "undelivered")
    ),
    *(
        Column(f"{name}_histogram", Numeric, nullable=False)
        for name in ("wait", "run", "total", "attempt")
    ),
    # Calls of the upstream. Processes of the previous version write none.
    *(
        Column(f"calls_{outcome}", BigInteger, nullable=False, server_default="0")
        for outcome in ("answered", "limited", "failed")
    ),
    Column("call_histogram", Numeric, nullable=False, server_default="0"),
    PrimaryKeyConstraint("step", "at", "process_id"),
    postgresql_with={"fillfactor": "50", "toast_tuple_target": "8160"},
)

# One row, whose count grows while the engine works. A lower count than before reveals that the database
# was restored from a backup.
beacon = Table(
    "beacon",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("count", BigInteger, nullable=False, server_default="0"),
    Column("swept_at", Time),
    # For the feed, see store/feed.py: the epoch, the oldest transaction in progress at the last beat, and the
    # system identifier of the cluster if the login may read it.
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("horizon", BigInteger, nullable=False, server_default="0"),
    Column("cluster", BigInteger),
)
