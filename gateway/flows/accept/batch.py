"""Accept a batch: many jobs of one tenant in one transaction, all or none.

Runs in API processes for `POST /batch`. Promises: either every job is committed or none is, and a
repeat with the same idempotency key yields the same ids. A crash before the commit leaves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.core.model import Limits, NewJob
from gateway.errors import IdempotencyKeyReused, QueueFull, Unauthorized
from gateway.flows.accept.queue_cap import max_queued_of
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.store.database import Tx
from gateway.store.tenancy import tenants
from gateway.store.work import jobs

# Separates the key from the place of a job; no key of a caller can contain it.
_SEPARATOR = "\x1f"


@dataclass(frozen=True, slots=True)
class BatchAccepted:
    """The ids in the order of the jobs, and whether an earlier request with the same key made them."""

    ids: Sequence[UUID]
    replayed: bool = False


def key_in_batch(idempotency_key: str, place: int) -> str:
    """The idempotency key of one job of a batch; the first job has the caller's own key."""
    return f"{idempotency_key}{_SEPARATOR}{place}" if place else idempotency_key


async def accept_batch(deps: Deps, batch: Sequence[NewJob], limits: Limits) -> BatchAccepted:
    """Store the jobs of one tenant, under its limits, and wake the submitters.

    Raises QueueFull, IdempotencyKeyReused, and Unavailable when the database is away.
    """
    max_queued, started = max_queued_of(limits, deps.policy), deps.clock.monotonic()
    try:
        accepted = await _store(deps, batch, max_queued)
    except _OvertakenError:
        accepted = await _store(deps, batch, max_queued)  # it finds the jobs of the other one
    deps.crash_point("batch.committed")
    if not accepted.replayed:
        deps.queue.wake("submit")
    outcome = "replayed" if accepted.replayed else "accepted"
    took = deps.clock.monotonic() - started
    for job in batch:
        deps.observer.done(
            "accept", outcome, seconds=took, tenant_id=job.tenant_id, workflow=job.workflow
        )
    return accepted


class _OvertakenError(Exception):
    """A concurrent repeat of this request was faster; this one stores nothing."""


@retry_on_deadlock
async def _store(deps: Deps, batch: Sequence[NewJob], max_queued: int) -> BatchAccepted:
    tenant_id = batch[0].tenant_id
    async with deps.db.of(tenant_id) as tx:
        earlier = await _earlier(tx, batch)
        if earlier:
            return BatchAccepted(_replayed(batch, earlier), replayed=True)
        waiting = (await jobs.queued(tx, [tenant_id]))[tenant_id]
        if waiting + len(batch) > max_queued:
            raise QueueFull(
                f"The tenant has {waiting} of {max_queued} jobs waiting, so {len(batch)} more "
                "have no room. Try again when some have been submitted.",
                quota=max_queued,
                room=max(max_queued - waiting, 0),
                retry_after=5,
            )
        stored = await jobs.insert(tx, batch)
        deps.crash_point("batch.inserted")
        if len(stored) < len(batch):
            if await tenants.by_id(tx, tenant_id) is None:
                raise Unauthorized("The tenant of this access key does not exist any more.")
            raise _OvertakenError
        return BatchAccepted([job.id for job in batch])


async def _earlier(tx: Tx, batch: Sequence[NewJob]) -> dict[str, jobs.Earlier]:
    keys = [(job.tenant_id, job.idempotency_key) for job in batch if job.idempotency_key]
    found = await jobs.earlier(tx, keys) if keys else []
    return {one.idempotency_key: one for one in found}


def _replayed(batch: Sequence[NewJob], earlier: dict[str, jobs.Earlier]) -> list[UUID]:
    ids: list[UUID] = []
    for job in batch:
        known = earlier.get(job.idempotency_key or "")
        if known is None or known.request_hash != job.request_hash:
            raise _reused()
        ids.append(known.id)
    return ids


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "Idempotency-Key: it was used before with another body. Use a new key for a new batch, and "
        "the same body to repeat a request."
    )
