"""Request bodies and query strings: one definition for parsing, error messages and OpenAPI."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field
from typing_extensions import override

from gateway.web.schemas.timestamps import Instant

# The end of a text. "$" would allow a line break after it.
_END = r"(?![\s\S])"

MAX_SIZE = 1_000
MAX_WAIT_SECONDS = 60
MAX_BATCH = 1_000
# Limits of one filter: values of a field or of a metadata key, metadata keys, values of all keys.
MAX_VALUES = 100
MAX_LABEL_KEYS = 20
MAX_LABEL_VALUES = 200


class Word(StrEnum):
    """A word of a fixed set; upper and lower case are the same."""

    @override
    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        given = value.casefold() if isinstance(value, str) else value
        return next((word for word in cls if word.value.casefold() == given), None)


class Status(Word):
    """The status of a job in the upstream's words; cancelled and expired jobs are FAILED."""

    QUEUED = "QUEUED"
    STARTED = "STARTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class ScopeName(Word):
    """What an access key may do."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_WRITE = "endpoints:write"
    USAGE_READ = "usage:read"
    SUPPORT = "support"
    ADMIN = "admin"
    ADMIN_READ = "admin:read"


class RoleName(Word):
    """What a person with an operator key may do."""

    VIEWER = "viewer"
    SUPPORT = "support"
    OPERATOR = "operator"


Name = Annotated[str, Meta(min_length=1, max_length=512)]
Workflow = Annotated[str, Meta(min_length=1, max_length=256)]
BatchName = Annotated[str, Meta(min_length=1, max_length=256)]
Url = Annotated[str, Meta(min_length=1, max_length=2048, extra_json_schema={"format": "uri"})]
Slug = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}" + _END,
        extra={"reason": "must be 1 to 63 of a-z, 0-9 and -, and not begin with -"},
    ),
]
ApiKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        pattern=r"^[!-~]+" + _END,
        extra={"reason": "must be printable ASCII characters without spaces"},
    ),
]
BaseUrl = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"^https?://[^/?#@\s]+(/[^?#\s]*)?" + _END,
        extra={"reason": "must be an http or https URL without a user, a query or a fragment"},
    ),
]
Label = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=1024)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Rate = Annotated[int, Meta(ge=1, le=100_000)]
Days = Annotated[int, Meta(ge=0, le=36_500)]
Seconds = Annotated[float, Meta(gt=0, le=10 * 365 * 86_400)]
Page = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=1, le=MAX_SIZE)]
Wait = Annotated[float, Meta(ge=0, le=MAX_WAIT_SECONDS)]

_ANY = {"additionalProperties": True}
_TEXTS = {"additionalProperties": {"type": "string"}}
# JSON that is stored as it was sent; `holds` says which type it must have.
Object = Annotated[
    Raw, Meta(extra={"holds": "object"}, extra_json_schema={"type": "object", **_ANY})
]
OptionalObject = Annotated[
    Raw,
    Meta(
        extra={"holds": "object or null"},
        extra_json_schema={"anyOf": [{"type": "object", **_ANY}, {"type": "null"}]},
    ),
]
OptionalTexts = Annotated[
    Raw,
    Meta(
        extra={"holds": "object or null"},
        extra_json_schema={"anyOf": [{"type": "object", **_TEXTS}, {"type": "null"}]},
    ),
]
TrustedName = Literal["upstream", "receivers"]
Trusted = Annotated[list[TrustedName], Meta(max_length=2)]
Scopes = Annotated[list[ScopeName], Meta(min_length=1, max_length=20)]
# Not empty, because an empty list could mean nothing or everything.
Choice = Annotated[
    list[Annotated[str, Meta(max_length=4096)]], Meta(min_length=1, max_length=MAX_VALUES)
]
JobIds = Annotated[list[UUID], Meta(min_length=1, max_length=MAX_VALUES)]
Statuses = Annotated[list[Status], Meta(min_length=1, max_length=MAX_VALUES)]
Labels = Annotated[
    dict[Annotated[str, Meta(max_length=128)], Choice],
    Meta(min_length=1, max_length=MAX_LABEL_KEYS),
]


class In(Struct, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The base of all request bodies and query strings.

    `elsewhere` has the error messages for fields that belong to another call; `aliases` are further
    names of query parameters.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {}
    aliases: ClassVar[Mapping[str, str]] = {}


# --- Bodies -----------------------------------------------------------------------------------


class BatchJobIn(In):
    """A job of a batch."""

    name: Name
    workflow: Workflow
    params: Object
    metadata: OptionalObject = field(default_factory=Raw)
    copy_results_to: OptionalTexts = field(default_factory=Raw)
    callback_url: Url | None = None
    deadline: timedelta | float | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 0


class JobIn(BatchJobIn):
    """A job to run."""

    batch_name: BatchName | None = None


class BatchIn(In):
    """Jobs to run under one batch name; all are accepted, or none."""

    name: BatchName
    jobs: Annotated[list[BatchJobIn], Meta(min_length=1, max_length=MAX_BATCH)]


class JobsFilterIn(In):
    """Which jobs a bulk operation changes; it must have at least one field."""

    id: JobIds = field(default_factory=list[UUID])
    status: Statuses = field(default_factory=list[Status])
    workflow: Choice = field(default_factory=list[str])
    batch_name: Choice = field(default_factory=list[str])
    name: Choice = field(default_factory=list[str])
    error_code: Choice = field(default_factory=list[str])
    metadata: Labels = field(default_factory=dict[str, list[str]])
    created_after: Instant | None = None
    created_before: Instant | None = None
    completed_after: Instant | None = None
    completed_before: Instant | None = None


class JobsBulkIn(In):
    """The jobs to cancel or to retry; a dry run only counts them."""

    filter: JobsFilterIn
    dry_run: bool = False


class LimitsIn(In):
    """Limits of a tenant. Null means the gateway's default; 0 days means no deletion."""

    max_queued: Count | None = None
    max_in_flight: Count | None = None
    max_rate: Rate | None = None
    max_endpoints: Count | None = None
    keep_payloads_days: Days | None = None
    keep_jobs_days: Days | None = None
    keep_attempts_days: Days | None = None
    keep_events_days: Days | None = None


class TenantIn(In):
    """A tenant to create."""

    slug: Slug
    name: Label
    metadata: OptionalObject = field(default_factory=Raw)
    limits: LimitsIn = field(default_factory=LimitsIn)
    send_traceparent: Trusted = field(default_factory=list[TrustedName])


class LimitsChange(In):
    """Limits to change; what is left out stays, null sets the gateway's default."""

    max_queued: Count | UnsetType | None = UNSET
    max_in_flight: Count | UnsetType | None = UNSET
    max_rate: Rate | UnsetType | None = UNSET
    max_endpoints: Count | UnsetType | None = UNSET
    keep_payloads_days: Days | UnsetType | None = UNSET
    keep_jobs_days: Days | UnsetType | None = UNSET
    keep_attempts_days: Days | UnsetType | None = UNSET
    keep_events_days: Days | UnsetType | None = UNSET


class TenantChange(In):
    """Changes of a tenant, as a merge patch (RFC 7396): what is left out stays."""

    name: Label | UnsetType = UNSET
    metadata: OptionalObject = field(default_factory=Raw)
    limits: LimitsChange | UnsetType | None = UNSET
    send_traceparent: Trusted | UnsetType | None = UNSET


class SuspensionIn(In):
    """Why a tenant is suspended or resumed; the audit log keeps it."""

    reason: Annotated[str, Meta(max_length=500)] = ""


class CredentialIn(In):
    """A tenant's key for the upstream."""

    api_key: ApiKey
    base_url: BaseUrl | None = None


class TenantKeyIn(In):
    """A new access key for one tenant."""

    name: Label
    scopes: Scopes | None = None
    expires_seconds: Seconds | None = None


class KeyIn(In):
    """A new access key for a service or an operator; without tenants it is for all of them."""

    kind: Literal["service", "operator"]
    name: Label
    tenants: Annotated[list[Slug], Meta(min_length=1, max_length=10_000)] | None = None
    scopes: Scopes | None = None
    role: RoleName | None = None
    expires_seconds: Seconds | None = None


class RotationIn(In):
    """How long the old key still works."""

    overlap_seconds: Annotated[float, Meta(ge=0, le=30 * 86_400)] = 0


class NoBody(In):
    """No fields."""


# --- Query strings ----------------------------------------------------------------------------


class NoQuery(In):
    """No parameters."""


class JobQuery(In):
    """How long to wait for the end or a change of the job."""

    wait: Wait = 0


class BundleQuery(In):
    """Whether the input, the result and the metadata of the job are in the bundle."""

    payloads: bool = False


class JobsQuery(In):
    """Which jobs to list."""

    status: Statuses = field(default_factory=list[Status])
    workflow: Choice = field(default_factory=list[str])
    batch_name: Choice = field(default_factory=list[str])
    name: Choice = field(default_factory=list[str])
    tenant: Choice = field(default_factory=list[str])
    error_code: Choice = field(default_factory=list[str])
    metadata: Labels = field(default_factory=dict[str, list[str]])
    created_after: Instant | None = None
    created_before: Instant | None = None
    completed_after: Instant | None = None
    completed_before: Instant | None = None
    page: Page = 0
    size: Size = 100
    cursor: str = ""
    format: Literal["json", "csv", "ndjson"] | None = None


class PageQuery(In):
    """One page of a short list."""

    page: Page = 0
    size: Size = 100


class FirstQuery(In):
    """How many of the first rows of a short list."""

    size: Size = 100


class UsageQuery(In):
    """How to group usage, of which tenants, jobs and time; `groupBy` is a list with commas."""

    group_by: Annotated[str, Meta(max_length=200)] = ""
    tenant: Choice = field(default_factory=list[str])
    workflow: Choice = field(default_factory=list[str])
    status: Statuses = field(default_factory=list[Status])
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    format: Literal["json", "csv"] | None = None


class ThroughputQuery(In):
    """Which window of the throughput."""

    window: Literal["1h", "24h", "7d"] = "1h"


class TenantsQuery(In):
    """Which tenants: those with a text in slug or name; the cursor is the last slug of the page before."""

    aliases: ClassVar[Mapping[str, str]] = {"after": "cursor", "limit": "size"}

    text: Annotated[str, Meta(max_length=200)] = ""
    cursor: str = ""
    size: Size = 100


class AuditQuery(In):
    """Which entries of the audit log to list."""

    aliases: ClassVar[Mapping[str, str]] = {"after": "cursor", "limit": "size"}

    tenant: str = ""
    action: Choice = field(default_factory=list[str])
    actor: Choice = field(default_factory=list[str])
    created_after: Instant | None = None
    created_before: Instant | None = None
    cursor: str = ""
    size: Size = 100
