"""Endpoints, events, deliveries and attempts."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, DOUBLE_PRECISION, JSON

from gateway.store.schema.common import (
    NOW,
    Time,
    made_at,
    metadata,
    own_id,
    owner,
    owner_without_key,
)

_CAPPED = "rate_limit IS NOT NULL OR concurrency IS NOT NULL"
_FAILED = "state IN ('exhausted', 'parked')"
_UNDELIVERED = "state <> 'delivered'"
_UNUSUAL = "type <> 'job.succeeded'"
_OF_DEAD = (
    *("tenant_id", "event_id", "job_id", "endpoint_id", "last_class", "last_status", "created_at"),
)
XACT = text("pg_current_xact_id()::text::bigint")

endpoint = Table(
    "endpoint",
    metadata,
    own_id(),
    owner(),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("algorithm", Text, nullable=False, server_default="v1"),
    Column("header_names", ARRAY(Text), nullable=False, server_default="{}"),
    Column("headers_sealed", LargeBinary),  # a JSON object; the values may be secrets
    Column("delays", ARRAY(Integer)),  # seconds between attempts; null: the gateway's
    Column("concurrency", Integer),
    # Deliveries per second: the refill rate and the size of a token bucket.
    Column("rate_limit", Integer),
    Column("tokens", DOUBLE_PRECISION, nullable=False, server_default="0"),
    Column("tokens_at", Time, nullable=False, server_default=text("'-infinity'")),
    # Health: attempts that failed since the last success, without replays.
    Column("failing_since", Time),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("disabled_at", Time),
    Column("disabled_reason", Text),
    Column("paused_until", Time),
    made_at(),
    Column("updated_at", Time, nullable=False, server_default=NOW),
    Column("deleted_at", Time),
    Index("endpoint_tenant_id_id", "tenant_id", "id"),
    Index("endpoint_capped", "id", postgresql_where=text(_CAPPED)),
)

signing_secret = Table(
    "signing_secret",
    metadata,
    own_id(),
    owner(),
    Column("endpoint_id", Uuid, ForeignKey("endpoint.id")),  # null: the tenant's default
    Column("algorithm", Text, nullable=False, server_default="v1"),
    Column("sealed", LargeBinary, nullable=False),
    Column("public_key", LargeBinary),  # of v1a
    made_at(),
    Column("expires_at", Time),
    Index("signing_secret_tenant_id_endpoint_id", "tenant_id", "endpoint_id"),
)

event = Table(
    "event",
    metadata,
    own_id(),
    owner_without_key(),
    Column("job_id", Uuid),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    made_at(),
    Column("endpoint_id", Uuid),  # of an event about an endpoint
    Column("is_sample", Boolean, nullable=False, server_default=text("false")),
    # The id of the transaction that stored it, which orders the feed: see store/feed.py.
    Column("xact", BigInteger, nullable=False, server_default=XACT),
    Index("event_tenant_id_xact_id", "tenant_id", "xact", "id"),
    Index("event_tenant_id_created_at_id", "tenant_id", "created_at", "id"),
)

delivery = Table(
    "delivery",
    metadata,
    own_id(),
    owner_without_key(),
    Column("event_id", Uuid, nullable=False),
    Column("job_id", Uuid),
    Column("endpoint_id", Uuid),
    Column("url", Text),  # of the job's own callback, if there is no endpoint
    # The receiver: an endpoint, or the origin of callback URLs. Limits and pauses hold for a lane.
    Column("lane", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Claims since the last recorded outcome.
    Column("strikes", SmallInteger, nullable=False, server_default="0"),
    Column("next_at", Time, nullable=False, server_default=NOW),
    Column("lease_token", Uuid),
    # Attempts before the last replay, which do not count for the retry schedule.
    Column("spared", Integer, nullable=False, server_default="0"),
    Column("resent_at", Time),
    # The type of its event. A trigger fills it in for workers of the previous version.
    Column("type", Text),
    Column("last_status", SmallInteger),
    Column("last_class", Text),
    Column("last_error", Text),
    made_at(),
    Column("completed_at", Time),
    Index("delivery_tenant_id_id", "tenant_id", "id"),
    Index(
        "delivery_tenant_id_endpoint_id_id",
        "tenant_id",
        "endpoint_id",
        "id",
        postgresql_where=text("endpoint_id IS NOT NULL"),
    ),
    # The page of dead letters reads this index alone.
    Index(
        "delivery_dead",
        "id",
        postgresql_where=text("state = 'exhausted'"),
        postgresql_include=_OF_DEAD,
    ),
    # An event has at most one delivery to each endpoint.
    Index("delivery_event_id_endpoint_id", "event_id", "endpoint_id", unique=True),
    # For lists of the less common deliveries, so these indexes stay small.
    Index("delivery_undelivered", "tenant_id", "state", "id", postgresql_where=text(_UNDELIVERED)),
    Index("delivery_unusual", "tenant_id", "type", "id", postgresql_where=text(_UNUSUAL)),
    Index(
        "delivery_failed_of_endpoint",
        "tenant_id",
        "endpoint_id",
        "id",
        postgresql_where=text(_FAILED),
    ),
    Index(
        "delivery_tenant_id_last_class_id",
        "tenant_id",
        "last_class",
        "id",
        postgresql_where=text("last_class IS NOT NULL"),
    ),
    Index(
        "delivery_tenant_id_resent_at",
        "tenant_id",
        "resent_at",
        postgresql_where=text("resent_at IS NOT NULL"),
    ),
    Index("delivery_job_id", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    Index("delivery_due", "lane", "next_at", postgresql_where=text("state = 'pending'")),
    Index(
        "delivery_suspect",
        "next_at",
        postgresql_where=text("state = 'pending' AND strikes >= 2"),
    ),
    postgresql_with={"fillfactor": "85", "autovacuum_vacuum_scale_factor": "0.05"},
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    owner_without_key(),
    Column("started_at", Time, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("request_headers", JSON, nullable=False),
    Column("status", SmallInteger),
    Column("response_headers", JSON),
    Column("response_body", Text),
    Column("error_class", Text),
    Column("detail", Text),
    Column("timings", JSON),  # seconds of each phase
    Column("next_at", Time),
    PrimaryKeyConstraint("delivery_id", "number"),
)

# Bulk operations that callers asked for. Workers do them in batches.
bulk = Table(
    "bulk",
    metadata,
    own_id(),
    owner(),
    Column("kind", Text, nullable=False),
    Column("endpoint_id", Uuid),
    Column("filter", JSON, nullable=False),
    Column("state", Text, nullable=False, server_default="running"),
    Column("total", BigInteger, nullable=False),
    Column("done", BigInteger, nullable=False, server_default="0"),
    Column("cursor", Uuid),  # the last row that is done
    Column("until", Uuid, nullable=False),  # the last row to do
    Column("next_at", Time, nullable=False, server_default=NOW),
    Column("lease_token", Uuid),
    made_at(),
    Column("completed_at", Time),
    Index("bulk_tenant_id_id", "tenant_id", "id"),
    Index("bulk_due", "next_at", postgresql_where=text("state = 'running'")),
    Index("bulk_running", "tenant_id", "next_at", postgresql_where=text("state = 'running'")),
    Index(
        "bulk_tenant_id_completed_at",
        "tenant_id",
        "completed_at",
        postgresql_where=text("completed_at IS NOT NULL"),
    ),
)
