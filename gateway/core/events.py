"""The public form of a job, and events whose bytes are frozen once.

Every answer, list, export and webhook writes a job by this form, so they never differ. Stored JSON
(params, metadata, result, error) is inserted as text, without being parsed.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from gateway.core.model import STATE_STATUS, TERMINAL, Job, JobState
from gateway.core.trace_context import trace_id_of
from gateway.core.waits_for import Wait

JOB_STARTED = "job.started"
JOB_SUCCEEDED = "job.succeeded"
JOB_FAILED = "job.failed"
JOB_DELETED = "job.deleted"
ENDPOINT_DISABLED = "endpoint.disabled"
CREDENTIAL_REJECTED = "credential.rejected"
TEST_PING = "test.ping"

EVENT_TYPES = (
    JOB_STARTED,
    JOB_SUCCEEDED,
    JOB_FAILED,
    JOB_DELETED,
    ENDPOINT_DISABLED,
    CREDENTIAL_REJECTED,
    TEST_PING,
)
TERMINAL_EVENTS = frozenset({JOB_SUCCEEDED, JOB_FAILED, JOB_DELETED})

MAX_BODY_BYTES = 20_000
# In a body that is too long, each text of an error keeps so many characters.
_SHORT = 300

# Filled in by `job_json`, and by Postgres where it writes many jobs (store/job_search/csv_and_json_columns.py).
JOB_FORM = (
    '{"id":"%s","app":%s,"name":%s,"batchName":%s,"workflow":%s,"workflowParams":%s,"status":"%s"'
    ',"result":%s,"error":%s,"metadata":%s,"createdAt":%s,"startedAt":%s,"completedAt":%s'
    ',"gateway":{"tenant":"%s","state":"%s","upstreamId":%s,"submitAttempts":%s'
    ',"nextAttemptAt":%s,"queuePosition":%s,"waitsFor":%s,"version":%s,"retryOf":%s'
    ',"traceId":%s}}'
)

json_text = json.JSONEncoder(ensure_ascii=False).encode


def instant(at: datetime | None) -> str:
    """A time as JSON: ISO 8601, UTC, milliseconds, Z; or null."""
    if at is None:
        return "null"
    return f'"{at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6]}Z"'


def job_json(
    job: Job,
    *,
    workflow: str | None = None,
    queue_position: int | None = None,
    waits_for: Wait | None = None,
) -> str:
    """Write a job for callers; `workflow` is JSON that replaces the slug."""
    waiting = None if job.state in TERMINAL else job.next_at
    return JOB_FORM % (
        job.id,
        json_text(job.app),
        json_text(job.name),
        _optional(job.batch_name),
        workflow or json_text(job.workflow),
        job.params,
        STATE_STATUS[job.state],
        job.result or "null",
        job.error or "null",
        job.metadata,
        instant(job.created_at),
        instant(job.started_at),
        instant(job.completed_at),
        job.tenant,
        job.state.value,
        _optional(job.upstream_id),
        job.submit_attempts,
        instant(waiting),
        "null" if queue_position is None else queue_position,
        "null" if waits_for is None else wait_json(waits_for),
        job.version,
        _optional(job.retry_of and str(job.retry_of)),
        _optional(trace_id_of(job.traceparent)),
    )


def wait_json(wait: Wait) -> str:
    """Write what a job or a delivery waits for."""
    position = "null" if wait.position is None else wait.position
    message, until = json_text(wait.message), instant(wait.until)
    return f'{{"code":"{wait.code}","message":{message},"until":{until},"position":{position}}}'


def job_event_type(state: JobState) -> str:
    """The type of the event that a terminal state causes."""
    return JOB_SUCCEEDED if state is JobState.SUCCEEDED else JOB_FAILED


def job_event_id(kind: str, job_id: UUID) -> UUID:
    """The id of the one event of a type that a job causes (UUID version 8).

    It is derived from the job, so an event that is written again after a restore has the `webhook-id`
    that receivers already know. It begins with the time of the job's own id.
    """
    raw = bytearray(hashlib.sha256(job_id.bytes + kind.encode()).digest()[:16])
    raw[:6] = job_id.bytes[:6]
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))


def job_event(kind: str, job: Job, at: datetime) -> str:
    """Freeze the body of an event about a job, of at most 20 kB.

    If it is longer, its result is left out, then its params, then its error is shortened, and at
    last its metadata is left out.
    """
    body = event_body(kind, job_json(job), at)
    for smaller in _smaller_versions(job):
        if len(body.encode()) <= MAX_BODY_BYTES:
            break
        body = event_body(kind, job_json(smaller)[:-1] + ',"truncated":true}', at)
    return body


def _smaller_versions(job: Job) -> Iterator[Job]:
    yield (job := replace(job, result=None))
    yield (job := replace(job, params="null"))
    yield (job := replace(job, error=_shortened(job.error)))
    yield replace(job, metadata="{}")


def _shortened(error: str | None) -> str | None:
    if error is None:
        return None
    fields: dict[str, object] = json.loads(error)
    cut = {name: one[:_SHORT] if isinstance(one, str) else one for name, one in fields.items()}
    return json.dumps(cut, ensure_ascii=False)


def event_body(kind: str, data: str, at: datetime) -> str:
    """Freeze the body of an event; `data` is a JSON text."""
    return f'{{"type":"{kind}","timestamp":{instant(at)},"data":{data}}}'


def _optional(value: str | None) -> str:
    return "null" if value is None else json_text(value)
