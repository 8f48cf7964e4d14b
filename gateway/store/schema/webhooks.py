"""Endpoints, events, deliveries and attempts."""

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
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from gateway.store.schema.common import NOW, Time, made_at, metadata, own_id, owner, owner_of_many

endpoint = Table(
    "endpoint",
    metadata,
    own_id(),
    owner(),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    Column("disabled_at", Time),
    Column("disabled_reason", Text),
    Column("paused_until", Time),
    made_at(),
    Column("updated_at", Time, nullable=False, server_default=NOW),
    Column("deleted_at", Time),
    Index("endpoint_tenant_id_id", "tenant_id", "id"),
)

signing_secret = Table(
    "signing_secret",
    metadata,
    own_id(),
    owner(),
    Column("endpoint_id", Uuid, ForeignKey("endpoint.id")),  # null: the tenant's default
    Column("sealed", LargeBinary, nullable=False),
    made_at(),
    Column("expires_at", Time),
    Index("signing_secret_tenant_id_endpoint_id", "tenant_id", "endpoint_id"),
)

event = Table(
    "event",
    metadata,
    own_id(),
    owner_of_many(),
    Column("job_id", Uuid),
    Column("type", Text, nullable=False),
    Column("body", Text, nullable=False),
    made_at(),
    Index("event_tenant_id_id", "tenant_id", "id"),
)

delivery = Table(
    "delivery",
    metadata,
    own_id(),
    owner_of_many(),
    Column("event_id", Uuid, nullable=False),
    Column("job_id", Uuid),
    Column("endpoint_id", Uuid),
    Column("url", Text),  # of the job's own callback, where there is no endpoint
    # Deliveries of one lane share a fate: an endpoint, or the origin of callback URLs.
    Column("lane", Uuid, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_at", Time, nullable=False, server_default=NOW),
    Column("lease_token", Uuid),
    Column("last_status", SmallInteger),
    Column("last_error", Text),
    made_at(),
    Column("completed_at", Time),
    Index("delivery_tenant_id_id", "tenant_id", "id"),
    Index("delivery_job_id", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    Index("delivery_due", "lane", "next_at", postgresql_where=text("state = 'pending'")),
    postgresql_with={"fillfactor": "85", "autovacuum_vacuum_scale_factor": "0.05"},
)

attempt = Table(
    "attempt",
    metadata,
    Column("delivery_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    owner_of_many(),
    Column("started_at", Time, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("request_headers", JSON, nullable=False),
    Column("status", SmallInteger),
    Column("response_headers", JSON),
    Column("response_body", Text),
    Column("error_class", Text),
    Column("detail", Text),
    PrimaryKeyConstraint("delivery_id", "number"),
)
