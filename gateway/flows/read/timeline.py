"""The timeline of one job: everything that happened to it, each as one plain sentence.

It is read when a caller asks, from the job's row, the notes of the engine and the log of its
webhooks. The entries are in the order of time, though the clocks of the upstream may disagree.
For a job that has not ended, the last entry says what it waits for.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from gateway.core.events import instant
from gateway.core.model import TERMINAL, Attempt, Delivery, DeliveryState, Job, JobState
from gateway.core.waits_for import Wait, wait_of
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.delivery_search import log
from gateway.store.job_search import lists
from gateway.store.work import jobs, wait_reasons

# The sentence for a note of the engine; its reason is in the detail.
_NOTES = {
    "credential.rejected": "The upstream rejected the tenant's credential, so the job waits.",
    "submit.postponed": "The upstream could not take the job yet. The gateway tries again.",
    "submit.in_doubt": "The submit is in doubt, so the gateway looks the job up at the upstream.",
}
_ENDS = {
    JobState.SUCCEEDED: "The job succeeded",
    JobState.FAILED: "The job failed",
    JobState.CANCELLED: "The job was cancelled",
    JobState.EXPIRED: "The job expired: it did not finish before its deadline",
}


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """Something that happened to a job."""

    at: datetime
    type: str
    text: str
    detail: dict[str, object] = field(default_factory=dict[str, object])


async def timeline(deps: Deps, tenant_id: UUID, job_id: UUID) -> list[TimelineEntry]:
    """All entries of a job in the order of time; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        job = await jobs.find(tx, tenant_id, job_id)
        if job is None:
            raise NotFound("There is no such job.")
        told = await _read(tx, job)
    return await _entries(deps, job, told)


async def timeline_of(deps: Deps, job: Job) -> list[TimelineEntry]:
    """The same of a job that was read already: its result may be large."""
    async with deps.db.of(job.tenant_id) as tx:
        told = await _read(tx, job)
    return await _entries(deps, job, told)


class _Told(NamedTuple):
    """What a timeline tells beside the job itself."""

    notes: Sequence[lists.Note]
    owed: Sequence[Delivery]
    attempts: Sequence[tuple[UUID, Attempt]]
    place: int | None


async def _read(tx: Tx, job: Job) -> _Told:
    owed = await log.of_job(tx, job.tenant_id, job.id)
    is_queued = job.state is JobState.ACCEPTED
    return _Told(
        await lists.notes(tx, job.tenant_id, job.id),
        owed,
        await log.attempts(tx, job.tenant_id, [delivery.id for delivery in owed], most=0),
        (await jobs.ahead(tx, [job])).get(job.id) if is_queued else None,
    )


async def _entries(deps: Deps, job: Job, told: _Told) -> list[TimelineEntry]:
    by_id = {delivery.id: delivery for delivery in told.owed}
    entries = [*_in_order(_of_job(job)), *map(_of_note, told.notes)]
    entries += [_of_attempt(by_id[delivery_id], attempt) for delivery_id, attempt in told.attempts]
    if job.state not in TERMINAL:
        entries += await _waiting(deps, job, told.place)
    return sorted(entries, key=lambda entry: entry.at)


async def _waiting(deps: Deps, job: Job, place: int | None) -> list[TimelineEntry]:
    """What an open job waits for now, in the same words that the job itself shows."""
    policy = deps.policy
    async with deps.db.single() as tx:
        found = await wait_reasons.situations(tx, [job.id], in_flight=policy.max_in_flight)
    return [
        TimelineEntry(one.now, "waiting", wait.message, _of_wait(wait))
        for one in found.values()
        if (wait := wait_of(replace(one, place=place), breaker=policy.breaker_failures))
    ]


def _of_wait(wait: Wait) -> dict[str, object]:
    until = wait.until and _text(wait.until)
    return {"code": wait.code.value, "until": until, "position": wait.position}


def _of_job(job: Job) -> Iterator[TimelineEntry]:
    if job.retry_of is None:
        yield TimelineEntry(job.created_at, "accepted", "The gateway accepted the job.")
    else:
        text = "The gateway accepted the job as a retry of an earlier one."
        yield TimelineEntry(job.created_at, "accepted", text, {"retryOf": str(job.retry_of)})
    if job.submitted_at is not None:
        text = f"The upstream took the job at attempt {job.submit_attempts}."
        yield TimelineEntry(job.submitted_at, "submitted", text, {"upstreamId": job.upstream_id})
        yield _of_polls(job, job.submitted_at)
    if job.started_at is not None:
        yield TimelineEntry(job.started_at, "started", "The upstream started the job.")
    if job.state in TERMINAL and job.completed_at is not None:
        yield _of_end(job, job.completed_at)


def _of_end(job: Job, at: datetime) -> TimelineEntry:
    error: dict[str, Any] = json.loads(job.error) if job.error else {}
    text = f"{_ENDS[job.state]}."
    if job.state is JobState.FAILED and error:
        text = f"{_ENDS[job.state]}: {error['message']} ({error['code']})"
    return TimelineEntry(at, job.state.value, text, error)


def _of_polls(job: Job, since: datetime) -> TimelineEntry:
    """All polls in one entry; what they learned has entries of its own."""
    if job.completed_at is None:
        return TimelineEntry(since, "polled", "The gateway polls the upstream until the job ends.")
    seconds = round(max((job.completed_at - since).total_seconds(), 0), 3)
    text = f"The gateway polled the upstream for {seconds:g} seconds."
    return TimelineEntry(since, "polled", text, {"seconds": seconds})


def _in_order(stages: Iterable[TimelineEntry]) -> Iterator[TimelineEntry]:
    """Move a stage that is dated before an earlier one to that one's time.

    The upstream's clock may be behind, or we may have recorded its answer late.
    """
    latest: datetime | None = None
    for stage in stages:
        if latest is not None and stage.at < latest:
            yield replace(stage, at=latest, detail={**stage.detail, "toldAt": _text(stage.at)})
        else:
            latest = stage.at
            yield stage


def _of_note(note: lists.Note) -> TimelineEntry:
    if note.type not in _NOTES:
        return TimelineEntry(note.at, note.type, note.detail)
    return TimelineEntry(note.at, note.type, _NOTES[note.type], {"reason": note.detail})


def _of_attempt(delivery: Delivery, attempt: Attempt) -> TimelineEntry:
    reason = (attempt.detail or "").rstrip(".")
    outcome = (
        f": the receiver answered {attempt.status}" if attempt.status else f" failed: {reason}"
    )
    text = f"Webhook {delivery.event_type}, attempt {attempt.number}{outcome}."
    if attempt.next_at is not None:
        text += " It will be sent again."
    elif delivery.state is DeliveryState.EXHAUSTED and attempt.number == delivery.attempts:
        text += " It is a dead letter: the gateway does not send it again by itself."
    detail: dict[str, object] = {
        "deliveryId": str(delivery.id),
        "url": attempt.url,
        "status": attempt.status,
        "durationMs": attempt.duration_ms,
        "errorClass": attempt.error_class,
        "nextAttemptAt": attempt.next_at and _text(attempt.next_at),
    }
    return TimelineEntry(attempt.started_at, "webhook", text, detail)


def _text(at: datetime) -> str:
    return instant(at)[1:-1]
