"""Request bodies and query strings about endpoints, deliveries, events and bulk operations."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.web.schemas.requests import MAX_VALUES, Choice, Description, In, Size, Url, Wait, Word
from gateway.web.schemas.timestamps import Instant, plain

_WEEK = 604_800
_OVERLAP = 86_400.0


class EventName(Word):
    """The type of an event."""

    JOB_STARTED = "job.started"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_DELETED = "job.deleted"
    ENDPOINT_DISABLED = "endpoint.disabled"
    CREDENTIAL_REJECTED = "credential.rejected"
    TEST_PING = "test.ping"


class Outcome(Word):
    """How the last attempt ended; some servers answer with a status above 599."""

    DELIVERED = "delivered"
    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    BLOCKED = "blocked"
    BODY = "body"
    EGRESS = "egress"
    HTTP_1XX = "http_1xx"
    HTTP_3XX = "http_3xx"
    HTTP_4XX = "http_4xx"
    HTTP_5XX = "http_5xx"
    HTTP_6XX = "http_6xx"
    HTTP_7XX = "http_7xx"
    HTTP_8XX = "http_8xx"
    HTTP_9XX = "http_9xx"


class DeliveryStatus(Word):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    PARKED = "parked"


class EndedStatus(Word):
    """The state of a delivery that is over."""

    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    PARKED = "parked"


Algorithm = Literal["v1", "v1a"]
Events = Annotated[list[EventName], Meta(max_length=50)]
Headers = dict[str, str]  # core/webhooks/custom_headers.py checks them
RateLimit = Annotated[int, Meta(ge=1, le=10_000)]
Concurrency = Annotated[int, Meta(ge=1, le=100)]
Schedule = Annotated[list[Annotated[int, Meta(ge=1, le=_WEEK)]], Meta(max_length=20)]
SecretText = Annotated[str, Meta(min_length=1, max_length=256)]
Ids = Annotated[list[UUID], Meta(min_length=1, max_length=1_000)]
# Values of filters; not empty, because an empty list could mean nothing or everything.
EventNames = Annotated[list[EventName], Meta(min_length=1, max_length=MAX_VALUES)]
Outcomes = Annotated[list[Outcome], Meta(min_length=1, max_length=MAX_VALUES)]
HttpStatuses = Annotated[
    list[Annotated[int, Meta(ge=100, le=999)]], Meta(min_length=1, max_length=MAX_VALUES)
]
DeliveryStatuses = Annotated[list[DeliveryStatus], Meta(min_length=1, max_length=MAX_VALUES)]

_ROTATE = "cannot be changed here; use POST /endpoint/{id}/rotate-secret"


class EndpointIn(In):
    """An endpoint to create; what is null or left out gets the gateway's default."""

    url: Url
    events: Events | None = None
    description: Description | None = None
    headers: Headers | None = None
    rate_limit: RateLimit | None = None
    concurrency: Concurrency | None = None
    schedule: Schedule | None = None
    given_algorithm: Algorithm | None = field(default="v1", name="algorithm")
    secret: SecretText | None = None

    @property
    def algorithm(self) -> Algorithm:
        """The signature scheme of the secret."""
        return self.given_algorithm or "v1"


class EndpointChange(In):
    """Changes of an endpoint, as a merge patch (RFC 7396): what is left out stays.

    Null sets the gateway's default, and removes a header.
    """

    elsewhere: ClassVar[Mapping[str, str]] = {"algorithm": _ROTATE, "secret": _ROTATE}

    url: Url | UnsetType = UNSET
    events: Events | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    headers: dict[str, str | None] | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    schedule: Schedule | UnsetType | None = UNSET


class SampleIn(In):
    """The type of the sample event."""

    type: EventName = EventName.TEST_PING


class DisablingIn(In):
    """Why the endpoint is disabled."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class SecretRotationIn(In):
    """The new signing secret, generated if none is given, and how long the others still sign."""

    given_overlap: Annotated[float, Meta(ge=0, le=_WEEK)] | None = field(
        default=_OVERLAP, name="overlapSeconds"
    )
    secret: SecretText | None = None
    algorithm: Algorithm | None = None

    @property
    def overlap_seconds(self) -> float:
        """How long the other secrets still sign."""
        return _OVERLAP if self.given_overlap is None else self.given_overlap


class SinceIn(In):
    """The time span of a bulk operation, until now by default; a dry run only counts."""

    since: Instant
    until: Instant | None = None
    dry_run: bool = False


class DeliverySelection(In):
    """What every filter of deliveries can choose by."""

    endpoint: Ids = field(default_factory=list[UUID])
    status: DeliveryStatuses = field(default_factory=list[DeliveryStatus])
    event: EventNames = field(default_factory=list[EventName])
    job: Ids = field(default_factory=list[UUID])
    outcome: Outcomes = field(default_factory=list[Outcome])
    http_status: HttpStatuses = field(default_factory=list[int])
    created_after: Instant | None = None
    created_before: Instant | None = None

    def of_tenant(self, tenant_id: UUID) -> DeliveryFilter:
        """The filter of the deliveries of a tenant."""
        return DeliveryFilter(
            tenant_id,
            endpoints=tuple(self.endpoint),
            states=tuple(one.value for one in self.status),
            events=tuple(one.value for one in self.event),
            jobs=tuple(self.job),
            outcomes=tuple(one.value for one in self.outcome),
            created_after=self.created_after and plain(self.created_after),
            created_before=self.created_before and plain(self.created_before),
            statuses=tuple(self.http_status),
        )


class ResendFilter(DeliverySelection):
    """Which deliveries to resend; it must have at least one field."""


class ResendIn(In):
    """The deliveries to resend; a dry run only counts them."""

    filter: ResendFilter
    dry_run: bool = False


class DeliveriesQuery(DeliverySelection):
    """Which deliveries to list."""

    resent_after: Instant | None = None
    size: Size = 100
    cursor: str = ""


class EndpointsQuery(In):
    """Which page of endpoints."""

    size: Size = 100
    cursor: str = ""


class BulkQuery(In):
    """Which page of bulk operations."""

    size: Size = 100
    cursor: str = ""


class KeysQuery(In):
    """Whose public keys to list."""

    endpoint: UUID | None = None
    tenant: UUID | None = None


class StreamQuery(In):
    """Which events to follow, and after which one; `samples` adds those of POST /event/test."""

    after: str = ""
    type: EventNames = field(default_factory=list[EventName])
    tenant: Choice = field(default_factory=list[str])
    samples: bool = False


class FeedQuery(StreamQuery):
    """Which events to read, and how long to wait if there are none yet."""

    size: Size = 100
    wait: Wait = 0
