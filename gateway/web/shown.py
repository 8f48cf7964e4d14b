"""What callers are shown, besides jobs, which core/events.py writes."""

import json
from datetime import datetime
from typing import Any, Literal

from litestar.openapi import ResponseSpec
from msgspec import Struct

from gateway.core.events import instant
from gateway.core.model import JobState
from gateway.web.wire import Status


class Out(Struct, rename="camel"):
    """Something that callers are shown."""


def described(shape: Any) -> dict[int, ResponseSpec]:  # noqa: ANN401 - any type can be described
    """For OpenAPI: what an answer that is written as text looks like."""
    return {200: ResponseSpec(shape, description="Done", generate_examples=False)}


def stamp(at: datetime) -> str:
    """A time in the one form that callers see."""
    return json.loads(instant(at))


def maybe_stamp(at: datetime | None) -> str | None:
    """A time that may not have come."""
    return None if at is None else stamp(at)


class JobGateway(Out):
    """What the gateway knows of a job and the upstream does not."""

    tenant: str
    state: JobState
    upstream_id: str | None
    submit_attempts: int
    next_attempt_at: str | None
    queue_position: int | None
    version: int
    retry_of: str | None


class JobError(Out):
    """Why a job failed."""

    code: str
    title: str
    message: str
    origin: Literal["caller", "gateway", "upstream"]
    retryable: bool


class JobOut(Out):
    """A job; `/api` shows its workflow as `{id, name}`."""

    id: str
    app: str
    name: str
    batch_name: str | None
    workflow: str
    workflow_params: dict[str, Any]
    status: Status
    result: Any
    error: JobError | None
    metadata: dict[str, Any]
    created_at: str
    started_at: str | None
    completed_at: str | None
    gateway: JobGateway


class JobMade(Out):
    """The job was accepted."""

    id: str


class JobStatus(Out):
    """The status of a job."""

    id: str
    status: str


class Deleted(Out):
    """It is gone."""

    id: str


class Moment(Out):
    """Something that happened to a job."""

    at: str
    type: str
    text: str
    detail: dict[str, Any]


class UploadOut(Out):
    """Where to put a file, and where it is then."""

    upload_url: str
    download_url: str


class WorkflowsOut(Out):
    """Workflows in the upstream's own words."""

    workflows: list[dict[str, Any]]


class Application(Out):
    """The tenant."""

    id: str
    name: str


class Mean(Out):
    """An average."""

    mean: float


class Usage(Out):
    """Groups of ended jobs; each row has the columns that it is grouped by."""

    group_by: list[str]
    rows: list[dict[str, Any]]
