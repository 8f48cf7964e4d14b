"""Reads and writes the upstream's JSON and headers; no input raises.

Functions that read a body return None if it is unusable. Unusable jobs and workflows are left out of
their lists.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast

import msgspec

from gateway.adapters.musicai.lenient_json import UNUSABLE, mended, parsed, storable
from gateway.ports import Submission, Upload, UpstreamJob, UpstreamProblem, Workflow

_T = TypeVar("_T")

_MAX_CODE = 100
_MAX_TEXT = 2000
# Ids are put into URLs without encoding.
_ID_PATTERN = r"\A[A-Za-z0-9_-][A-Za-z0-9._:-]{0,199}\Z"
_ID = re.compile(_ID_PATTERN)

_Instant = Annotated[datetime, msgspec.Meta(tz=True)] | None


class _Error(msgspec.Struct):
    code: str
    title: str
    message: str


class _Metadata(msgspec.Struct):
    marker: str | None = msgspec.field(name="gatewayJobId", default=None)


class _Job(msgspec.Struct, rename="camel"):
    """A job as documented; a job that deviates is read by the slower `_loose_job`."""

    id: Annotated[str, msgspec.Meta(pattern=_ID_PATTERN)]
    status: str
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _Error | None = None
    metadata: _Metadata | None = None
    created_at: _Instant = None
    started_at: _Instant = None
    completed_at: _Instant = None


_JOB = msgspec.json.Decoder(_Job)
_PAGE = msgspec.json.Decoder(list[_Job])
_PLAIN_RESULT = msgspec.json.Decoder(dict[str, str] | None)


def submission_body(submission: Submission) -> bytes:
    """Build the body of `POST /job`; parts that are JSON already are not parsed again."""
    copy = submission.copy_results_to
    return (
        f'{{"name":{json.dumps(submission.name)},"workflow":{json.dumps(submission.workflow)},'
        f'"params":{submission.params},"metadata":{submission.metadata}'
        + ("}" if copy is None else f',"copyResultsTo":{copy}}}')
    ).encode()


def read_id(body: bytes) -> str | None:
    """Read the id of a new job."""
    return _identity(_fields(parsed(mended(body))).get("id"))


def read_text(body: bytes, name: str) -> str | None:
    """Read one member of an object: a text that is not empty."""
    return _text(_fields(parsed(mended(body))).get(name))


def read_upload(body: bytes) -> Upload | None:
    """Read the URLs where a file can be uploaded and downloaded."""
    fields = _fields(parsed(mended(body)))
    put, get = _text(fields.get("uploadUrl")), _text(fields.get("downloadUrl"))
    return Upload(put, get) if put and get else None


def read_workflows(body: bytes) -> list[Workflow] | None:
    """Read the workflows of one page: a bare list, or one under `workflows`."""
    found = parsed(mended(body))
    return _each(_fields(found).get("workflows", found), _workflow)


def read_job(body: bytes) -> UpstreamJob | None:
    """Read one job."""
    body = mended(body)
    try:
        return _job(_JOB.decode(body))
    except UNUSABLE:
        return _loose_job(parsed(body))


def read_page(body: bytes) -> list[UpstreamJob] | None:
    """Read the jobs of one page."""
    body = mended(body)
    try:
        return [_job(job) for job in _PAGE.decode(body)]
    except UNUSABLE:
        return _each(parsed(body), _loose_job)


def read_problem(status: int, body: bytes, key: str) -> UpstreamProblem:
    """Read why the upstream refused, in its own words if there are any; the key is masked."""
    said = _problem(parsed(mended(body)), f"HTTP_{status}", _phrase(status))
    message = said.message or f"The upstream answered {status} without a reason."
    return UpstreamProblem(
        *(text.replace(key, "[key]") for text in (said.code, said.title, message))
    )


def has_reason(body: bytes) -> bool:
    """Return whether an error has the form that the API documents."""
    return not {"code", "title", "message"}.isdisjoint(_fields(parsed(mended(body))))


def _job(job: _Job) -> UpstreamJob:
    error, metadata = job.error, job.metadata
    return UpstreamJob(
        job.id,
        job.status[:_MAX_CODE],
        _result(job.result),
        None if error is None else _cut(error.code, error.title, error.message),
        _utc(job.created_at),
        _utc(job.started_at),
        _utc(job.completed_at),
        None if metadata is None else metadata.marker,
    )


def _result(raw: msgspec.Raw) -> str | None:
    try:
        return None if _PLAIN_RESULT.decode(raw) is None else str(raw, "utf-8")
    except UNUSABLE:
        return storable(str(raw, "utf-8"))


def _loose_job(found: object) -> UpstreamJob | None:
    fields = _fields(found)
    identity, status = _identity(fields.get("id")), _text(fields.get("status"))
    if identity is None or status is None:
        return None
    result, error = fields.get("result"), fields.get("error")
    return UpstreamJob(
        upstream_id=identity,
        status=status[:_MAX_CODE],
        result=None if result is None else json.dumps(result, ensure_ascii=False),
        problem=None if error is None else _problem(error, "UNKNOWN", "Job failed"),
        created_at=_instant(fields.get("createdAt")),
        started_at=_instant(fields.get("startedAt")),
        completed_at=_instant(fields.get("completedAt")),
        marker=_text(_fields(fields.get("metadata")).get("gatewayJobId")),
    )


def _workflow(found: object) -> Workflow | None:
    fields = _fields(found)
    slug, identity = _text(fields.get("slug")), _text(fields.get("id"))
    if slug is None and identity is None:
        return None
    name = _text(fields.get("name")) or ""
    return Workflow(identity or slug or "", name, slug or identity or "", json.dumps(found))


def _problem(found: object, code: str, title: str) -> UpstreamProblem:
    fields = _fields(found)
    said: object = fields.get("message") if fields else found
    message = said if isinstance(said, str) else json.dumps(said)
    return _cut(
        _text(fields.get("code")) or code,
        _text(fields.get("title")) or title,
        "" if said is None else message,
    )


def _cut(code: str, title: str, message: str) -> UpstreamProblem:
    return UpstreamProblem(code[:_MAX_CODE], title[:_MAX_TEXT], message[:_MAX_TEXT])


def _each(found: object, read: Callable[[object], _T | None]) -> list[_T] | None:
    if not isinstance(found, list):
        return None
    items = map(read, cast("list[object]", found))
    return [item for item in items if item is not None]


def _fields(found: object) -> dict[str, Any]:
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _text(found: object) -> str | None:
    return found if isinstance(found, str) and found else None


def _identity(found: object) -> str | None:
    return found if isinstance(found, str) and _ID.match(found) else None


def _instant(found: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        return None
    return _utc(at and at.replace(tzinfo=at.tzinfo or UTC))


def _utc(at: datetime | None) -> datetime | None:
    try:
        return at if at is None or at.tzinfo is UTC else at.astimezone(UTC)
    except OverflowError:
        return None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Upstream error"
