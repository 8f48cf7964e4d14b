"""What callers send about endpoints, deliveries and bulk operations, field by field."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType, field

from gateway.web.wire import MAX_VALUES, Choice, Description, In, Instant, Size, Url, Wait

_WEEK = 604_800
_OVERLAP = 86_400.0

EventName = Literal[
    "job.started",
    "job.succeeded",
    "job.failed",
    "job.deleted",
    "endpoint.disabled",
    "credential.rejected",
    "test.ping",
]
# How the last attempt ended; some servers answer with statuses beyond 599.
Outcome = Literal[
    "delivered",
    "dns",
    "connect",
    "tls",
    "timeout",
    "blocked",
    "body",
    "egress",
    "http_1xx",
    "http_3xx",
    "http_4xx",
    "http_5xx",
    "http_6xx",
    "http_7xx",
    "http_8xx",
    "http_9xx",
]
DeliveryStatus = Literal["pending", "delivered", "exhausted", "parked"]
Algorithm = Literal["v1", "v1a"]
Events = Annotated[list[EventName], Meta(max_length=50)]
Headers = dict[str, str]  # core/custom_headers.py knows what is wrong with one
RateLimit = Annotated[int, Meta(ge=1, le=10_000)]
Concurrency = Annotated[int, Meta(ge=1, le=100)]
Schedule = Annotated[list[Annotated[int, Meta(ge=1, le=_WEEK)]], Meta(max_length=20)]
SecretText = Annotated[str, Meta(min_length=1, max_length=256)]
Ids = Annotated[list[UUID], Meta(min_length=1, max_length=1_000)]
# What a filter names; an empty list would select nothing or everything.
EventNames = Annotated[list[EventName], Meta(min_length=1, max_length=MAX_VALUES)]
Outcomes = Annotated[list[Outcome], Meta(min_length=1, max_length=MAX_VALUES)]
DeliveryStatuses = Annotated[list[DeliveryStatus], Meta(min_length=1, max_length=MAX_VALUES)]

_ROTATE = "cannot be changed here; use POST /endpoint/{id}/rotate-secret"


class EndpointIn(In):
    """A receiver of webhooks; what is null or left out is the gateway's default."""

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
        """What the secret signs with."""
        return self.given_algorithm or "v1"


class EndpointChange(In):
    """What is to change of a receiver; what is left out stays, null is the gateway's default."""

    elsewhere: ClassVar[Mapping[str, str]] = {"algorithm": _ROTATE, "secret": _ROTATE}

    url: Url | UnsetType = UNSET
    events: Events | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    headers: Headers | UnsetType | None = UNSET
    rate_limit: RateLimit | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    schedule: Schedule | UnsetType | None = UNSET


class SampleIn(In):
    """The event to send a sample of."""

    type: EventName = "test.ping"


class DisablingIn(In):
    """Why nothing is to be delivered."""

    reason: Annotated[str, Meta(min_length=1, max_length=200)] | None = None


class SecretRotationIn(In):
    """The new signing secret, made where none is given, and how long the others go on."""

    given_overlap: Annotated[float, Meta(ge=0, le=_WEEK)] | None = field(
        default=_OVERLAP, name="overlapSeconds"
    )
    secret: SecretText | None = None
    algorithm: Algorithm | None = None

    @property
    def overlap_seconds(self) -> float:
        """How long the other secrets go on."""
        return _OVERLAP if self.given_overlap is None else self.given_overlap


class SinceIn(In):
    """From when on, and until when if that is not now; a dry run only counts."""

    since: Instant
    until: Instant | None = None
    dry_run: bool = False


class ResendFilter(In):
    """Which deliveries to send again; it must name something."""

    endpoint: Ids = field(default_factory=list[UUID])
    status: DeliveryStatuses = field(default_factory=list[DeliveryStatus])
    event: EventNames = field(default_factory=list[EventName])
    job: Ids = field(default_factory=list[UUID])
    outcome: Outcomes = field(default_factory=list[Outcome])
    created_after: Instant | None = None
    created_before: Instant | None = None


class ResendIn(In):
    """Deliveries to send again; a dry run only counts."""

    filter: ResendFilter
    dry_run: bool = False


class DeliveriesQuery(In):
    """Which deliveries to list."""

    endpoint: Ids = field(default_factory=list[UUID])
    status: DeliveryStatuses = field(default_factory=list[DeliveryStatus])
    event: EventNames = field(default_factory=list[EventName])
    job: Ids = field(default_factory=list[UUID])
    outcome: Outcomes = field(default_factory=list[Outcome])
    created_after: datetime | None = None
    created_before: datetime | None = None
    resent_after: datetime | None = None
    size: Size = 100
    cursor: str = ""


class BulkQuery(In):
    """Bulk operations before this cursor."""

    size: Size = 100
    cursor: str = ""


class KeysQuery(In):
    """Whose public keys to list."""

    endpoint: UUID | None = None
    tenant: UUID | None = None


class StreamQuery(In):
    """Which events to follow, and behind which one; with those of POST /event/test where told so."""

    after: str = ""
    type: EventNames = field(default_factory=list[EventName])
    tenant: Choice = field(default_factory=list[str])
    samples: bool = False


class FeedQuery(StreamQuery):
    """Which events to read, and how long to wait where there are none yet."""

    size: Size = 100
    wait: Wait = 0
