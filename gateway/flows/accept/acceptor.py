"""Accept: store a job in Postgres before its caller gets an answer.

Runs in every API process for `POST /job`, and in workers for bulk retries. Requests that arrive
together share one transaction (group commit). Promises: an answered job is committed, a repeated
idempotency key yields the first job, and a tenant at its cap of waiting jobs gets QueueFull.
A crash before the commit leaves nothing; after it, a job without a wake-up, which the sweep finds.
"""

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.core.model import Limits, NewJob
from gateway.core.policy import Policy
from gateway.errors import GatewayError, IdempotencyKeyReused, QueueFull, Unauthorized
from gateway.flows.deps import Deps
from gateway.flows.process.group_commit import GroupCommit
from gateway.ports import Clock
from gateway.store.database import Tx
from gateway.store.work import jobs

_BATCH = 250
_WRITERS = 2
_COUNT_SECONDS = 0.5
_LONGEST_SECONDS = 10.0
# Near the cap each batch counts the queue; a long queue is counted less often, as counting costs.
_FEW = 1_000
_COUNTED_A_SECOND = 1_000_000.0
# All processes together accept fewer jobs a second than this.
_FASTEST = 20_000.0
# Below this share of a tenant's cap its waiting jobs are not counted again for every batch.
_NEAR_CAP = 0.9
# With fewer free places than this each batch counts, whatever share of the cap they are.
_CLOSE = 100


# A tenant and an idempotency key of one of its jobs; the key is empty where the job has none.
Key = tuple[UUID, str]


def max_queued_of(limits: Limits, policy: Policy) -> int:
    """How many jobs of a tenant may wait: its own cap, or else the gateway's default."""
    return policy.max_queued if limits.max_queued is None else limits.max_queued


@dataclass(frozen=True, slots=True)
class Order:
    """A job to accept, and how many of its tenant's jobs may wait."""

    job: NewJob
    max_queued: int

    @classmethod
    def of(cls, job: NewJob, limits: Limits, policy: Policy) -> "Order":
        """An order under the limits of the job's tenant."""
        return cls(job, max_queued_of(limits, policy))


@dataclass(frozen=True, slots=True)
class Accepted:
    """The id of the job, and whether an earlier request with the same idempotency key made it."""

    id: UUID
    replayed: bool = False


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
        outcome = await self._commit.add(order)
        if isinstance(outcome, GatewayError):
            raise outcome
        if not outcome.replayed:
            self._deps.queue.wake("submit")
            self._deps.crash_point("accept.woken")
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
                known = await _earlier(tx, [order.job for order in orders]) if look_first else {}
                fresh += self._admit(orders, set(known))
                stored |= await jobs.insert(tx, fresh) if fresh else set()
                # Inserted meanwhile by another process, or earlier in this batch.
                again = [
                    o.job for o in orders if o.job.id not in stored and _key(o.job) not in known
                ]
                known |= await _earlier(tx, again)
                self._repeats = bool(known)
                self._deps.crash_point("accept.inserted")
        finally:
            self._waiting.close(fresh, stored)
        self._deps.crash_point("accept.committed")
        refused = {job.id for job in fresh} - stored
        return [self._outcome(o, stored, refused, known.get(_key(o.job))) for o in orders]

    def _admit(self, orders: list[Order], known: set[Key]) -> list[NewJob]:
        """The jobs that are new and fit into their tenant's queue."""
        seen = set(known)
        admitted: list[NewJob] = []
        for order in orders:
            key = _key(order.job)
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
        if earlier.request_hash != order.job.request_hash:
            return IdempotencyKeyReused(
                "Idempotency-Key: it was used before with another body. Use a new key for a new "
                "job, and the same body to repeat a request."
            )
        return Accepted(earlier.id, replayed=True)


def _key(job: NewJob) -> Key:
    return job.tenant_id, job.idempotency_key or ""


async def _earlier(tx: Tx, wanted: Sequence[NewJob]) -> dict[Key, jobs.Earlier]:
    keys = {_key(job) for job in wanted if job.idempotency_key is not None}
    found = await jobs.earlier(tx, keys) if keys else []
    return {(one.tenant_id, one.idempotency_key): one for one in found}


class WaitingCounts:
    """How many jobs of each tenant wait; counted again more often the nearer that is to the cap."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[UUID, tuple[int, float]] = {}
        # Places taken by batches that are not committed yet, so no count includes them.
        self._taken: Counter[UUID] = Counter()

    async def refresh(self, tx: Tx, caps: dict[UUID, int]) -> None:
        """Count again the queues whose last count is too old for their distance from the cap."""
        now = self._clock.monotonic()
        stale = [tenant for tenant, cap in caps.items() if self._stale(tenant, cap, now)]
        if stale:
            for tenant, count in (await jobs.queued(tx, stale)).items():
                self._counts[tenant] = (count, now)

    def is_near(self, caps: dict[UUID, int], wanted: int) -> bool:
        """Whether `wanted` more jobs could take the last places of any of these tenants."""
        return any(
            self._counts[tenant][0] + self._taken[tenant] + wanted > _NEAR_CAP * cap
            for tenant, cap in caps.items()
        )

    def take(self, tenant_id: UUID, cap: int) -> bool:
        """Take a place in a tenant's queue; False when there is none."""
        if self._counts[tenant_id][0] + self._taken[tenant_id] >= cap:
            return False
        self._taken[tenant_id] += 1
        return True

    def close(self, fresh: Sequence[NewJob], stored: Container[UUID]) -> None:
        """Free the places of a batch; its stored jobs are added to the count."""
        for job in fresh:
            self._taken[job.tenant_id] -= 1
            if job.id in stored:
                count, at = self._counts[job.tenant_id]
                self._counts[job.tenant_id] = (count + 1, at)

    def _stale(self, tenant_id: UUID, cap: int, now: float) -> bool:
        if tenant_id not in self._counts:
            return True
        count, at = self._counts[tenant_id]
        age, safe = now - at, (cap - count) / _FASTEST
        if count > _NEAR_CAP * cap or cap - count < _CLOSE:
            return count < _FEW or age > count / _COUNTED_A_SECOND
        return age > min(max(safe, _COUNT_SECONDS), _LONGEST_SECONDS)
