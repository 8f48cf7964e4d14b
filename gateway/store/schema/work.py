"""Jobs, the labels that they are found by, counters of each tenant's jobs, and notes for timelines."""

from sqlalchemy import (
    BigInteger,
    Column,
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
from sqlalchemy.dialects.postgresql import JSON, JSONB

from gateway.store.schema.common import NOW, Time, made_at, metadata, own_id, owner_without_key

_OPEN = "state IN ('accepted', 'submitting', 'submitted', 'running')"
_SUSPECT = "state = 'accepted' AND strikes >= 2"
_AT_UPSTREAM = "state IN ('submitted', 'running')"
_LISTED = text("deleted_at IS NULL")
_ENDED = text("completed_at IS NOT NULL AND deleted_at IS NULL")

job = Table(
    "job",
    metadata,
    own_id(),
    owner_without_key(),
    Column("state", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("batch_name", Text),
    Column("workflow", Text, nullable=False),
    Column("params", JSON, nullable=False),
    Column("copy_results_to", JSON),
    Column("metadata", JSONB, nullable=False),
    Column("callback_url", Text),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("idempotency_key", Text),
    Column("request_hash", LargeBinary),
    Column("retry_of", Uuid),
    # The trace context of the request that made the job (W3C Trace Context).
    Column("traceparent", Text),
    made_at(),
    Column("deadline_at", Time, nullable=False),
    # When the row may be claimed next: its due time, or the end of its lease.
    Column("next_at", Time, nullable=False, server_default=NOW),
    Column("lease_token", Uuid),
    Column("credential_id", Uuid),
    Column("submit_attempts", Integer, nullable=False, server_default="0"),
    # Claims since the last recorded outcome.
    Column("strikes", SmallInteger, nullable=False, server_default="0"),
    # Start and end of a submit that the upstream may have accepted.
    Column("sent_at", Time),
    Column("sent_until", Time),
    Column("lookups", SmallInteger, nullable=False, server_default="0"),
    Column("submitted_at", Time),
    Column("upstream_id", Text),
    Column("absences", SmallInteger, nullable=False, server_default="0"),
    Column("started_at", Time),
    Column("completed_at", Time),
    Column("result", JSON),
    Column("error", JSON),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("deleted_at", Time),
    # When to delete the job at the upstream; null once that is done.
    Column("upstream_delete_at", Time),
    Index("job_tenant_id_id", "tenant_id", "id"),
    # For lists of one tenant, and of all tenants.
    Index("job_listed", "tenant_id", "state", "id", postgresql_where=_LISTED),
    Index("job_listed_of_all", "state", "id", postgresql_where=_LISTED),
    Index("job_by_workflow", "workflow", "tenant_id", "state", "id", postgresql_where=_LISTED),
    Index("job_ended", "tenant_id", "completed_at", "id", postgresql_where=_ENDED),
    Index("job_ended_of_all", "completed_at", "tenant_id", "id", postgresql_where=_ENDED),
    Index(
        "job_idempotency",
        "tenant_id",
        "idempotency_key",
        unique=True,
        postgresql_where=text("idempotency_key IS NOT NULL"),
    ),
    Index(
        "job_to_submit",
        "tenant_id",
        text("priority DESC"),
        "id",
        postgresql_where=text("state = 'accepted'"),
    ),
    Index("job_in_doubt", "next_at", postgresql_where=text("state = 'submitting'")),
    Index("job_suspect", "next_at", postgresql_where=text(_SUSPECT)),
    Index(
        "job_at_upstream_by_workflow",
        "credential_id",
        "workflow",
        "submitted_at",
        postgresql_where=text(_AT_UPSTREAM),
    ),
    Index(
        "job_by_upstream_id",
        "credential_id",
        "upstream_id",
        postgresql_where=text(_AT_UPSTREAM),
    ),
    # The search box. A hash, because upstream ids are long and each ended job has one.
    Index(
        "job_ended_upstream_id",
        text("hashtextextended(upstream_id, 0)"),
        postgresql_where=text("completed_at IS NOT NULL AND upstream_id IS NOT NULL"),
    ),
    Index("job_deadline", "deadline_at", postgresql_where=text(_OPEN)),
    Index(
        "job_upstream_delete",
        "upstream_delete_at",
        postgresql_where=text("upstream_delete_at IS NOT NULL"),
    ),
    postgresql_with={
        "fillfactor": "85",
        "autovacuum_vacuum_scale_factor": "0.05",
        "autovacuum_analyze_scale_factor": "0.05",
    },
)

# The waiting and the in-flight jobs of a tenant: the sums over its shards. Triggers on `job` keep them.
tenant_load = Table(
    "tenant_load",
    metadata,
    owner_without_key(),
    Column("shard", SmallInteger, nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("in_flight", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant_id", "shard"),
    postgresql_with={"fillfactor": "50"},
)

# Hashes of the texts that jobs are found by: name, batch, error code, and each pair of the metadata. Triggers
# on `job` keep them for all jobs that are not deleted.
job_label = Table(
    "job_label",
    metadata,
    Column("label", BigInteger, nullable=False),
    owner_without_key(),
    Column("job_id", Uuid, nullable=False),
    Index("job_label_label_tenant_id_job_id", "label", "tenant_id", "job_id"),
)

# Notes on unusual events for the timeline of a job. The usual events are columns of the job.
job_event = Table(
    "job_event",
    metadata,
    own_id(),
    owner_without_key(),
    Column("job_id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Time, nullable=False, server_default=NOW),
    Index("job_event_job_id_id", "job_id", "id"),
)
