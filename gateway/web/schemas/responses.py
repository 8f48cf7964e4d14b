"""What callers are shown, besides jobs, which core/events.py writes."""

from datetime import datetime
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar.openapi import ResponseSpec
from msgspec import UNSET, Meta, Struct, UnsetType

from gateway.core.events import instant
from gateway.core.model import JobState
from gateway.web.respond.raw_response import JSON
from gateway.web.schemas.requests import Status


def one_of(words: type[Enum]) -> dict[str, str]:
    """The schema of a text that is one of some words."""
    return {"$ref": f"#/components/schemas/{words.__name__}"}


# As they are shown; the formats are for OpenAPI.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Address = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
StatusText = Annotated[str, Meta(extra_json_schema=one_of(Status))]


class Out(Struct, rename="camel"):
    """Something that callers are shown."""


def described(
    shape: Any,  # noqa: ANN401 - any type can be described
    description: str = "Done",
    media_type: str = JSON,
) -> dict[int, ResponseSpec]:
    """For OpenAPI: what an answer that is written as text looks like, without invented examples."""
    told = ResponseSpec(shape, False, description, media_type=media_type)
    return {200: told}


def stamp(at: datetime) -> str:
    """A time in the one form that callers see."""
    return instant(at)[1:-1]


def maybe_stamp(at: datetime | None) -> str | None:
    """A time that may not have come."""
    return None if at is None else stamp(at)


def maybe_id(value: UUID | None) -> str | None:
    """An id that may not be there."""
    return None if value is None else str(value)


class WaitsFor(Out):
    """Why it does not go on just now: a stable code, and the same in words.

    `until` is when that ends, where it is known; `position` is how many of the tenant's jobs go
    before.
    """

    code: str
    message: str
    until: Time | None
    position: int | None


class JobGateway(Out):
    """What the gateway knows of a job and the upstream does not."""

    tenant: str
    state: JobState
    upstream_id: str | None
    submit_attempts: int
    next_attempt_at: Time | None
    queue_position: int | None
    waits_for: WaitsFor | None
    version: int
    retry_of: Id | None


class JobError(Out):
    """Why a job failed."""

    code: str
    title: str
    message: str
    origin: Literal["caller", "gateway", "upstream"]
    retryable: bool


class JobOut(Out):
    """A job; `/api` shows its workflow as `{id, name}`."""

    id: Id
    app: str
    name: str
    batch_name: str | None
    workflow: str
    workflow_params: dict[str, Any]
    status: StatusText
    result: Any
    error: JobError | None
    metadata: dict[str, Any]
    created_at: Time
    started_at: Time | None
    completed_at: Time | None
    gateway: JobGateway


class BatchMade(Out):
    """The jobs of a batch, in the order given."""

    batch_name: str
    ids: list[Id]


class RetryMade(Out):
    """A new job, and the one that it repeats."""

    id: Id
    retry_of: Id


class JobMade(Out):
    """The job was accepted."""

    id: Id


class JobStatus(Out):
    """The status of a job."""

    id: Id
    status: StatusText


class Deleted(Out):
    """It is gone."""

    id: Id


class Moment(Out):
    """Something that happened to a job, and how long that was after what happened before."""

    at: Time
    seconds_later: float
    type: str
    text: str
    detail: dict[str, Any]


class EventOut(Out):
    """An event of the feed; its data is what the webhook says."""

    id: Id
    type: str
    timestamp: Time
    tenant: str
    job_id: Id | None
    data: dict[str, Any]


class SampleMade(Out):
    """A sample event in the feed."""

    id: Id
    type: str


class UploadOut(Out):
    """Where to put a file, and where it is then."""

    upload_url: Address
    download_url: Address


class WorkflowsOut(Out):
    """Workflows in the upstream's own words."""

    workflows: list[dict[str, Any]]


class Application(Out):
    """The tenant."""

    id: Id
    name: str


class Times(Out):
    """Durations in seconds: their mean, and what half, 95 % and 99 % of them do not exceed."""

    mean: float
    p50: float
    p95: float
    p99: float


class WebhookCounts(Out):
    """Webhooks about jobs that came to their end."""

    delivered: int
    failed: int


class UsageRow(Out, kw_only=True):
    """Ended jobs of one group; of the first eight only those that were asked for are there."""

    tenant: str | UnsetType = UNSET
    hour: Time | UnsetType = UNSET
    day: Time | UnsetType = UNSET
    month: Time | UnsetType = UNSET
    workflow: str | UnsetType = UNSET
    status: StatusText | UnsetType = UNSET
    batch: str | UnsetType = UNSET
    error_code: str | UnsetType = UNSET
    jobs: int
    succeeded: int
    failed: int
    failed_by_code: dict[str, int]
    retried: int
    queue_wait_seconds: Times | None
    run_seconds: Times | None
    end_to_end_seconds: Times | None
    webhooks: WebhookCounts


class Usage(Out):
    """Groups of ended jobs, in the order of what they are grouped by."""

    group_by: list[str]
    rows: list[UsageRow]
