"""The frozen values that every layer uses: tenants, keys, jobs, endpoints, deliveries."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class JobState(StrEnum):
    """The state of a job, in detail."""

    # core/lifecycle.py lists what moves a job from state to state.
    ACCEPTED = "accepted"
    SUBMITTING = "submitting"
    SUBMITTED = "submitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})

# What callers see, as the upstream words it, and the states behind each word.
STATUS_STATES: dict[str, tuple[JobState, ...]] = {
    "QUEUED": (JobState.ACCEPTED, JobState.SUBMITTING, JobState.SUBMITTED),
    "STARTED": (JobState.RUNNING,),
    "SUCCEEDED": (JobState.SUCCEEDED,),
    "FAILED": (JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED),
}
STATE_STATUS = {state: status for status, states in STATUS_STATES.items() for state in states}


class DeliveryState(StrEnum):
    """The state of a delivery; exhausted is a dead letter. A replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    PARKED = "parked"


class KeyKind(StrEnum):
    """Whom an access key acts for."""

    TENANT = "tenant"
    SERVICE = "service"
    OPERATOR = "operator"


class Scope(StrEnum):
    """What an access key may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_WRITE = "endpoints:write"
    USAGE_READ = "usage:read"
    SUPPORT = "support"  # retry, cancel, resend, recover, test: core/roles.py
    ADMIN = "admin"
    ADMIN_READ = "admin:read"


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps of one tenant; None means the gateway's default.

    `max_rate` is requests a second; things are kept for so many days, 0 is for good.
    """

    max_queued: int | None = None
    max_in_flight: int | None = None
    max_rate: int | None = None
    max_endpoints: int | None = None
    keep_payloads: int | None = None
    keep_jobs: int | None = None
    keep_attempts: int | None = None
    keep_events: int | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer whose jobs and history are kept apart from those of all others."""

    id: UUID
    slug: str
    name: str
    metadata: str  # JSON object
    limits: Limits
    send_traceparent: tuple[str, ...]  # to `upstream`, to `receivers`
    suspended_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An inbound key; its secret is known only by digest."""

    id: UUID
    key_id: str
    kind: KeyKind
    tenant_id: UUID | None
    tenants: frozenset[UUID] | None  # what a service key may act for; None means all
    name: str
    scopes: frozenset[str]
    digest: bytes
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Credential:
    """One version of a tenant's key for the upstream, sealed."""

    id: UUID
    tenant_id: UUID
    version: int
    base_url: str
    sealed: bytes
    rejected_at: datetime | None
    rejected_reason: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Job:
    """One job as history knows it; params, metadata, result and error are JSON texts."""

    id: UUID
    tenant_id: UUID
    tenant: str
    app: str
    name: str
    batch_name: str | None
    workflow: str
    params: str
    copy_results_to: str | None
    metadata: str
    callback_url: str | None
    state: JobState
    result: str | None
    error: str | None
    created_at: datetime
    submitted_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    deadline_at: datetime | None
    next_at: datetime | None
    credential_id: UUID | None
    upstream_id: str | None
    submit_attempts: int
    priority: int
    version: int
    retry_of: UUID | None
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as it is accepted; params, copy_results_to and metadata are JSON texts."""

    id: UUID
    tenant_id: UUID
    name: str
    workflow: str
    params: str
    metadata: str
    copy_results_to: str | None = None
    batch_name: str | None = None
    callback_url: str | None = None
    priority: int = 0
    deadline_seconds: float = 86_400.0
    idempotency_key: str | None = None
    request_hash: bytes | None = None
    retry_of: UUID | None = None
    traceparent: str | None = None  # the trace context of the request that made it


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A tenant's URL with its event filter; no events means all of them.

    `delays` are the seconds between attempts, `rate_limit` is a second, `concurrency` at a time;
    None means the gateway's own. Of the headers only the names are known without a master key.
    """

    id: UUID
    tenant_id: UUID
    url: str
    description: str
    events: tuple[str, ...]
    algorithm: str
    header_names: tuple[str, ...]
    delays: tuple[int, ...] | None
    concurrency: int | None
    rate_limit: int | None
    failing_since: datetime | None
    failures: int
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP try of a delivery; append-only."""

    number: int
    started_at: datetime
    duration_ms: int
    url: str
    request_headers: str  # JSON object
    status: int | None
    response_headers: str | None  # JSON object
    response_body: str | None
    error_class: str | None
    detail: str | None
    timings: str | None = None  # JSON object: seconds of each phase
    next_at: datetime | None = None
    truncated: bool = False  # read without headers and body


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event owed to one receiver; a sample is sent once, and to that receiver alone."""

    id: UUID
    tenant_id: UUID
    event_id: UUID
    event_type: str
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str
    state: DeliveryState
    attempts: int
    next_at: datetime | None
    last_status: int | None
    last_class: str | None
    last_error: str | None
    resent_at: datetime | None
    created_at: datetime
    completed_at: datetime | None
    is_sample: bool = False
