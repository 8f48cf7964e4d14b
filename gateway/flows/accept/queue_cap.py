"""The cap on a tenant's waiting jobs, kept without counting its queue for each request.

Each process counts a queue again the more often, the nearer it is to its cap. Counts are hints of one
process: several processes together may pass a cap by what they accept between two counts.
"""

from collections import Counter
from collections.abc import Container, Sequence
from uuid import UUID

from gateway.core.model import Limits, NewJob
from gateway.core.policy import Policy
from gateway.ports import Clock
from gateway.store.database import Tx
from gateway.store.work import jobs

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


def max_queued_of(limits: Limits, policy: Policy) -> int:
    """How many jobs of a tenant may wait: its own cap, or else the gateway's default."""
    return policy.max_queued if limits.max_queued is None else limits.max_queued


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
