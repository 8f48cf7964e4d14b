"""The timeline of one job, in words that can be read aloud."""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from uuid import UUID

from gateway.core.lifecycle import error_code
from gateway.core.model import TERMINAL, Attempt, Delivery, Job
from gateway.errors import NotFound
from gateway.flows.deps import Deps
from gateway.store import delivery_log, history, jobs


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to a job."""

    at: datetime
    type: str
    text: str
    detail: dict[str, object] = field(default_factory=dict[str, object])


async def timeline(deps: Deps, tenant_id: UUID, job_id: UUID) -> list[Moment]:
    """All moments of a job in the order of time; raises NotFound."""
    async with deps.db.of(tenant_id) as tx:
        job = await jobs.find(tx, tenant_id, job_id)
        if job is None:
            raise NotFound("There is no such job.")
        notes = await history.notes(tx, tenant_id, job_id)
        owed = await delivery_log.of_job(tx, tenant_id, job_id)
        tries = await delivery_log.attempts(tx, tenant_id, [delivery.id for delivery in owed])
    by_id = {delivery.id: delivery for delivery in owed}
    others = [Moment(note.at, note.type, note.detail) for note in notes]
    others += [_of_attempt(by_id[delivery_id], attempt) for delivery_id, attempt in tries]
    stages = _of_job(job)
    # The upstream may see a job start before its taking was recorded here; stages keep their order.
    latest = accumulate((stage.at for stage in stages), max)
    timed = [*zip(latest, stages, strict=True), *((other.at, other) for other in others)]
    return [moment for _, moment in sorted(timed, key=lambda pair: pair[0])]


def _of_job(job: Job) -> list[Moment]:
    moments = [Moment(job.created_at, "accepted", "The gateway accepted the job.")]
    if job.submitted_at is not None:
        text = f"The upstream took the job, at attempt {job.submit_attempts}."
        detail: dict[str, object] = {"upstreamId": job.upstream_id}
        moments.append(Moment(job.submitted_at, "submitted", text, detail))
    if job.started_at is not None:
        moments.append(Moment(job.started_at, "started", "The upstream began to work on the job."))
    if job.state in TERMINAL and job.completed_at is not None:
        why = f" ({error_code(job.error)})" if job.error else ""
        text = f"The job {job.state.value}{why}."
        moments.append(Moment(job.completed_at, job.state.value, text))
    return moments


def _of_attempt(delivery: Delivery, attempt: Attempt) -> Moment:
    outcome = f"answered {attempt.status}" if attempt.status else f"failed: {attempt.detail}"
    text = (
        f"Webhook {delivery.event_type}, attempt {attempt.number}: the receiver {outcome}."
        if attempt.status
        else f"Webhook {delivery.event_type}, attempt {attempt.number} {outcome}."
    )
    detail: dict[str, object] = {
        "deliveryId": str(delivery.id),
        "url": attempt.url,
        "status": attempt.status,
        "durationMs": attempt.duration_ms,
        "errorClass": attempt.error_class,
    }
    return Moment(attempt.started_at, "webhook", text, detail)
