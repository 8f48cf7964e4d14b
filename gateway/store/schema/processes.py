"""The processes of the gateway, each with its last heartbeat."""

from sqlalchemy import Boolean, Column, Double, Integer, Table, Text

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
    # How far the clock of its host is ahead of Postgres's, in seconds.
    Column("clock_ahead", Double, nullable=False),
    Column("redis", Boolean, nullable=False),
    postgresql_with={"fillfactor": "50"},
)
