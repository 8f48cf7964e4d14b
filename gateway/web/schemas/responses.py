"""Responses. Jobs are described here for OpenAPI; core/events.py writes them."""

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
    """The schema of a text that is one of these words."""
    return {"$ref": f"#/components/schemas/{words.__name__}"}


# Texts in responses; the formats are for OpenAPI.
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Id = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Address = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
StatusText = Annotated[str, Meta(extra_json_schema=one_of(Status))]


class Out(Struct, rename="camel"):
    """The base of all responses; field names become camelCase."""


def described(
    shape: Any,  # noqa: ANN401 - any type can be described
    description: str = "Done",
    media_type: str = JSON,
) -> dict[int, ResponseSpec]:
    """The type of a response that its handler writes as text, for OpenAPI."""
    told = ResponseSpec(shape, False, description, media_type=media_type)
    return {200: told}


def stamp(at: datetime) -> str:
    """A time as every response shows it."""
    return instant(at)[1:-1]


def maybe_stamp(at: datetime | None) -> str | None:
    """A time, or None if there is none yet."""
    return None if at is None else stamp(at)


def maybe_id(value: UUID | None) -> str | None:
    """An id, or None if there is none."""
    return None if value is None else str(value)


class WaitsFor(Out):
    """Why the job waits: a stable code, and the same in words.

    `until` is when the wait ends, if that is known; `position` is how many of the tenant's jobs go
    first.
    """

    code: str
    message: str
    until: Time | None
    position: int | None


class JobGateway(Out):
    """What only the gateway knows of a job."""

    tenant: str
    state: JobState
    upstream_id: str | None
    submit_attempts: int
    next_attempt_at: Time | None
    queue_position: int | None
    waits_for: WaitsFor | None
    version: int
    retry_of: Id | None
    trace_id: str | None


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
    """The ids of the jobs, in the order of the request."""

    batch_name: str
    ids: list[Id]


class RetryMade(Out):
    """The new job, and the job that it repeats."""

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
    """The id of what was deleted."""

    id: Id


class Moment(Out):
    """Something that happened to a job; `secondsLater` is the time since the entry before."""

    at: Time
    seconds_later: float
    type: str
    text: str
    detail: dict[str, Any]


class EventOut(Out):
    """An event of the feed; its data is the same as in the webhook."""

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
    """The URL to upload a file to, and the URL to download it from."""

    upload_url: Address
    download_url: Address


class WorkflowsOut(Out):
    """Workflows as the upstream describes them."""

    workflows: list[dict[str, Any]]


class Application(Out):
    """The tenant."""

    id: Id
    name: str


class Times(Out):
    """Durations in seconds: mean and percentiles."""

    mean: float
    p50: float
    p95: float
    p99: float


class WebhookCounts(Out):
    """Webhooks about jobs, by how they ended."""

    delivered: int
    failed: int


class UsageRow(Out, kw_only=True):
    """Ended jobs of one group; the first eight fields are there only if `groupBy` names them."""

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
    """Groups of ended jobs, sorted by what they are grouped by."""

    group_by: list[str]
    rows: list[UsageRow]
