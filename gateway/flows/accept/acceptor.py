"""Accept: store a job in Postgres before its caller gets an answer.

Runs in every API process for `POST /job`, and in workers for bulk retries. Requests that arrive
together share one transaction (group commit). Promises: an answered job is committed, a repeated
idempotency key yields the first job, and a tenant at its cap of waiting jobs gets QueueFull.
A crash before the commit leaves nothing; after it, a job without a wake-up, which the sweep finds.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from gateway.core.model import Limits, NewJob
from gateway.core.policy import Policy
from gateway.errors import GatewayError, QueueFull, Unauthorized
from gateway.flows.accept.idempotency import (
    Accepted,
    Key,
    answer_of_repeat,
    earlier_jobs,
    key_of,
)
from gateway.flows.accept.queue_cap import WaitingCounts, max_queued_of
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.store.work import jobs

_BATCH = 250
_WRITERS = 2


@dataclass(frozen=True, slots=True)
class Order:
    """A job to accept, and how many of its tenant's jobs may wait."""

    job: NewJob
    max_queued: int

    @classmethod
    def of(cls, job: NewJob, limits: Limits, policy: Policy) -> "Order":
        """An order under the limits of the job's tenant."""
        return cls(job, max_queued_of(limits, policy))


@contextmanager
def refusals_reported(deps: Deps) -> Generator[None]:
    """Report to the observer what the block refuses, by the code of the error."""
    try:
        yield
    except GatewayError as refused:
        deps.observer.done("accept", refused.code, seconds=0.0)
        raise


class Acceptor:
    """Accepts jobs for one process, many in one transaction."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._waiting = WaitingCounts(deps.clock)
        self._repeats = False
        self._commit = GroupCommit(self._write, batch=_BATCH, writers=_WRITERS)

    async def accept(self, order: Order) -> Accepted:
        """Store a job and wake the submitters.

        Raises QueueFull, IdempotencyKeyReused, and Unavailable when the database is away.
        """
        deps, started = self._deps, self._deps.clock.monotonic()
        outcome = await self._commit.add(order)
        if isinstance(outcome, GatewayError):
            raise outcome
        if not outcome.replayed:
            deps.queue.wake("submit")
            deps.crash_point("accept.woken")
        deps.observer.done(
            "accept",
            "replayed" if outcome.replayed else "accepted",
            seconds=deps.clock.monotonic() - started,
            tenant_id=order.job.tenant_id,
            workflow=order.job.workflow,
        )
        return outcome

    async def _write(self, orders: list[Order]) -> list[Accepted | GatewayError]:
        fresh, stored = list[NewJob](), set[UUID]()
        try:
            # Each statement commits by itself: an inserted job is accepted, whatever fails later.
            async with self._deps.db.single() as tx:
                caps = {order.job.tenant_id: order.max_queued for order in orders}
                await self._waiting.refresh(tx, caps)
                # Repeats must not take the last places, so near the cap they are looked up first.
                # Otherwise the insert finds them, which is cheaper while there are few.
                look_first = self._repeats or self._waiting.is_near(caps, len(orders))
                known = (
                    await earlier_jobs(tx, [order.job for order in orders]) if look_first else {}
                )
                fresh += self._admit(orders, set(known))
                stored |= await jobs.insert(tx, fresh) if fresh else set()
                # Inserted meanwhile by another process, or earlier in this batch.
                again = [
                    o.job for o in orders if o.job.id not in stored and key_of(o.job) not in known
                ]
                known |= await earlier_jobs(tx, again)
                self._repeats = bool(known)
                self._deps.crash_point("accept.inserted")
        finally:
            self._waiting.close(fresh, stored)
        self._deps.crash_point("accept.committed")
        refused = {job.id for job in fresh} - stored
        return [self._outcome(o, stored, refused, known.get(key_of(o.job))) for o in orders]

    def _admit(self, orders: list[Order], known: set[Key]) -> list[NewJob]:
        """The jobs that are new and fit into their tenant's queue."""
        seen = set(known)
        admitted: list[NewJob] = []
        for order in orders:
            key = key_of(order.job)
            if key in seen or not self._waiting.take(order.job.tenant_id, order.max_queued):
                continue
            admitted.append(order.job)
            if order.job.idempotency_key is not None:
                seen.add(key)
        return admitted

    def _outcome(
        self, order: Order, stored: set[UUID], refused: set[UUID], earlier: jobs.Earlier | None
    ) -> Accepted | GatewayError:
        if order.job.id in stored:
            return Accepted(order.job.id)
        if earlier is None and order.job.id in refused:
            return Unauthorized("The tenant of this access key does not exist any more.")
        if earlier is None:
            return QueueFull(
                f"The tenant has {order.max_queued} jobs waiting, as many as it may have. "
                "Try again when some have been submitted.",
                quota=order.max_queued,
                room=0,
                retry_after=5,
            )
        return answer_of_repeat(earlier, order.job)
