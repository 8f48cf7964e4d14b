"""Tenants, their keys and credentials, and the audit."""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from gateway.store.schema.common import NOW, Time, made_at, metadata, own_id, owner, owner_of_many

tenant = Table(
    "tenant",
    metadata,
    own_id(),
    Column("slug", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("metadata", JSONB, nullable=False),
    Column("max_queued", Integer),
    Column("max_in_flight", Integer),
    Column("max_rate", Integer),  # requests a second
    Column("max_endpoints", Integer),
    # Days that things are kept; null: as long as the gateway's settings say.
    Column("keep_payloads", Integer),
    Column("keep_jobs", Integer),
    Column("keep_attempts", Integer),
    Column("keep_events", Integer),
    Column("pruned_at", Time),
    Column("suspended_at", Time),
    made_at(),
    Column("updated_at", Time, nullable=False, server_default=NOW),
)

access_key = Table(
    "access_key",
    metadata,
    own_id(),
    Column("key_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Uuid, ForeignKey("tenant.id"), index=True),
    Column("tenants", ARRAY(Uuid)),  # what a service key may act for; null means all
    Column("name", Text, nullable=False),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    made_at(),
    Column("expires_at", Time),
    Column("revoked_at", Time),
    Column("last_used_at", Time),
)

credential = Table(
    "credential",
    metadata,
    own_id(),
    owner(),
    Column("version", Integer, nullable=False),
    Column("base_url", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    made_at(),
    Column("rejected_at", Time),
    Column("rejected_reason", Text),
    # What the engine knows of the upstream behind this credential, shared by all workers.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("paused_until", Time),
    # How many submits may be under way at once after trouble; null: as many as there is room for.
    Column("submit_room", Integer),
    Column("poll_at", Time),
    Column("poll_lease_until", Time),
    Column("poll_token", Uuid),
    # Rounds in a row that were begun and not ended: each may have brought its process down.
    Column("poll_strikes", SmallInteger, nullable=False, server_default="0"),
    Column("list_order", Text, nullable=False, server_default="unknown"),
    Column("pace", Text, nullable=False, server_default="{}"),
    UniqueConstraint("tenant_id", "version"),
    Index("credential_poll_at", "poll_at", postgresql_where=text("poll_at IS NOT NULL")),
)

# How far the pruning of a tenant has come, by kind of what is pruned.
prune_cursor = Table(
    "prune_cursor",
    metadata,
    owner_of_many(),
    Column("kind", Text, nullable=False),
    Column("cursor", Uuid, nullable=False),
    PrimaryKeyConstraint("tenant_id", "kind"),
)

# Counts up while anybody works; a database that went back in time is known by it.
beacon = Table(
    "beacon",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("count", BigInteger, nullable=False, server_default="0"),
    Column("swept_at", Time),
    # Of the feed, see store/feed.py: the epoch, the oldest transaction under way at the last beat,
    # and the system identifier of the cluster, where that may be read.
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("horizon", BigInteger, nullable=False, server_default="0"),
    Column("cluster", BigInteger),
)

audit = Table(
    "audit",
    metadata,
    own_id(),
    Column("at", Time, nullable=False, server_default=NOW),
    Column("key_id", Text, nullable=False),  # of the access key that did it
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant_id", Uuid),
    Column("detail", JSONB, nullable=False),
    Index("audit_tenant_id_id", "tenant_id", "id"),
)
