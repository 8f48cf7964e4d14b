"""The public form of a job, and events whose bytes are frozen once.

A job is written here and nowhere else, so an answer, a list and a webhook hold the same words.
Stored JSON (params, metadata, result, error) goes in as it is, without being parsed.
"""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from gateway.core.model import STATE_STATUS, TERMINAL, Job, JobState

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

_text = json.encoder.encode_basestring_ascii


def instant(at: datetime | None) -> str:
    """A time as JSON: ISO 8601, UTC, milliseconds, Z; or null."""
    if at is None:
        return "null"
    return f'"{at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6]}Z"'


def job_json(job: Job, *, workflow: str | None = None, queue_position: int | None = None) -> str:
    """Write a job for callers; `workflow` is JSON that replaces the slug."""
    return (
        f'{{"id":"{job.id}","app":{_text(job.app)},"name":{_text(job.name)}'
        f',"batchName":{_optional(job.batch_name)}'
        f',"workflow":{workflow or _text(job.workflow)}'
        f',"workflowParams":{job.params}'
        f',"status":"{STATE_STATUS[job.state]}"'
        f',"result":{job.result or "null"},"error":{job.error or "null"}'
        f',"metadata":{job.metadata},"createdAt":{instant(job.created_at)}'
        f',"startedAt":{instant(job.started_at)},"completedAt":{instant(job.completed_at)}'
        f',"gateway":{_gateway_json(job, queue_position)}}}'
    )


def _gateway_json(job: Job, queue_position: int | None) -> str:
    waiting = None if job.state in TERMINAL else job.next_at
    return (
        f'{{"tenant":"{job.tenant}","state":"{job.state.value}"'
        f',"upstreamId":{_optional(job.upstream_id)},"submitAttempts":{job.submit_attempts}'
        f',"nextAttemptAt":{instant(waiting)}'
        f',"queuePosition":{"null" if queue_position is None else queue_position}'
        f',"version":{job.version},"retryOf":{_optional(job.retry_of and str(job.retry_of))}}}'
    )


def job_event_type(state: JobState) -> str:
    """The type of the event that a terminal state causes."""
    return JOB_SUCCEEDED if state is JobState.SUCCEEDED else JOB_FAILED


def job_event_id(kind: str, job_id: UUID) -> UUID:
    """The id of the one event of a type that a job causes (UUID version 8).

    It follows from the job, so that an event which a restored database has forgotten comes back
    under the `webhook-id` that receivers know. It begins with the time of the job's own id.
    """
    raw = bytearray(hashlib.sha256(job_id.bytes + kind.encode()).digest()[:16])
    raw[:6] = job_id.bytes[:6]
    raw[6] = raw[6] & 0x0F | 0x80
    raw[8] = raw[8] & 0x3F | 0x80
    return UUID(bytes=bytes(raw))


def job_event(kind: str, job: Job, at: datetime) -> str:
    """Freeze the body of an event about a job.

    Above 20 kB its result is left out, and its params too where that is not enough.
    """
    body = event_body(kind, job_json(job), at)
    for thinner in (replace(job, result=None), replace(job, result=None, params="null")):
        if len(body.encode()) <= MAX_BODY_BYTES:
            break
        body = event_body(kind, job_json(thinner)[:-1] + ',"truncated":true}', at)
    return body


def event_body(kind: str, data: str, at: datetime) -> str:
    """Freeze the body of an event; `data` is a JSON text."""
    return f'{{"type":"{kind}","timestamp":{instant(at)},"data":{data}}}'


def _optional(value: str | None) -> str:
    return "null" if value is None else _text(value)
