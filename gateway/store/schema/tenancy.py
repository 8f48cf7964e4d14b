"""Tenants, their keys, credentials and pruning cursors, and the audit."""

from sqlalchemy import (
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

from gateway.store.schema.common import (
    NOW,
    Time,
    made_at,
    metadata,
    own_id,
    owner,
    owner_without_key,
)

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
    # Retention in days; null: as in the settings of the gateway.
    Column("keep_payloads", Integer),
    Column("keep_jobs", Integer),
    Column("keep_attempts", Integer),
    Column("keep_events", Integer),
    # Who is sent a traceparent: `upstream`, `receivers`; null: nobody.
    Column("send_traceparent", ARRAY(Text)),
    Column("pruned_at", Time),
    Column("suspended_at", Time),
    made_at(),
    Column("updated_at", Time, nullable=False, server_default=NOW),
    Index("tenant_slug_prefix", "slug", postgresql_ops={"slug": "text_pattern_ops"}),
)

access_key = Table(
    "access_key",
    metadata,
    own_id(),
    Column("key_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("tenant_id", Uuid, ForeignKey("tenant.id"), index=True),
    Column("tenants", ARRAY(Uuid)),  # the tenants that a service key may act for; null: all
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
    # How many submits may run at once after failures; null: no limit of the credential.
    Column("submit_room", Integer),
    Column("poll_at", Time),
    Column("poll_lease_until", Time),
    Column("poll_token", Uuid),
    # Polling rounds in a row that began and did not end: each may have crashed its process.
    Column("poll_strikes", SmallInteger, nullable=False, server_default="0"),
    Column("list_order", Text, nullable=False, server_default="unknown"),
    Column("pace", Text, nullable=False, server_default="{}"),
    UniqueConstraint("tenant_id", "version"),
    Index("credential_poll_at", "poll_at", postgresql_where=text("poll_at IS NOT NULL")),
)

# The progress of pruning: the last id that was examined, for each tenant and kind of row.
prune_cursor = Table(
    "prune_cursor",
    metadata,
    owner_without_key(),
    Column("kind", Text, nullable=False),
    Column("cursor", Uuid, nullable=False),
    PrimaryKeyConstraint("tenant_id", "kind"),
)

audit = Table(
    "audit",
    metadata,
    own_id(),
    Column("at", Time, nullable=False, server_default=NOW),
    Column("key_id", Text, nullable=False),  # of the access key that acted
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant_id", Uuid),
    Column("detail", JSONB, nullable=False),
    Index("audit_tenant_id_id", "tenant_id", "id"),
    Index("audit_action_id", "action", "id"),
    Index("audit_key_id_id", "key_id", "id"),
    # The acts on tenants that were erased.
    Index("audit_of_tenants", "subject", "id", postgresql_where=text("action LIKE 'tenant.%'")),
)
