"""What one polling round knows so far, while it runs.

`run_round` makes it, the modules of this folder add their calls, troubles and recorded ends to it,
and a frozen `RoundResult` is all that leaves the round. A crash loses nothing that the next round
does not ask the upstream for again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from gateway.core.lifecycle import Finish, Start
from gateway.core.schedule.polling import InFlight, Pace, tokens
from gateway.flows.deps import Deps
from gateway.flows.poll import reports
from gateway.flows.poll.memory import PollMemory
from gateway.flows.poll.reports import JobReport
from gateway.flows.upstream.circuit_breaker import CredentialHealth
from gateway.ports import Sealed, Trouble, UpstreamJob
from gateway.store.work import polls
from gateway.store.work.polls import Flight, ToPoll

# A page of the list may be older than the ages that it is compared with, in seconds.
_LIST_LAG_SECONDS = 0.5


@dataclass(slots=True)
class RoundState:
    """One round in progress. `began_at` and `until`, when it must stop, are of the monotonic clock.

    `health` is of the credential that it asks with. `is_safe` is whether it may use the list.
    """

    deps: Deps
    credential: ToPoll
    pace: Pace
    memory: PollMemory
    began_at: float
    until: float
    list_order: str
    health: CredentialHealth
    is_safe: bool
    is_substitute: bool = False
    flight: Flight = field(default_factory=Flight)
    calls: int = 0
    troubles: list[Trouble | Sealed] = field(default_factory=list[Trouble | Sealed])
    durations: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    ended: set[UUID] = field(default_factory=set[UUID])
    has_started_jobs: bool = False

    async def count_in_flight(self) -> None:
        """Read which jobs are at the upstream now."""
        id_, tenant_id = self.credential.id, self.credential.tenant_id
        async with self.deps.db.single() as tx:
            few = self.deps.policy.list_from
            self.flight = await polls.in_flight(tx, id_, tenant_id, self.pace, few)

    @property
    def groups(self) -> Sequence[InFlight]:
        """The jobs at the upstream by workflow."""
        return self.flight.groups

    @property
    def jobs(self) -> int:
        """About how many jobs are at the upstream."""
        return self.flight.jobs if self.groups else 0

    def calls_left(self) -> float:
        """How many more calls the budget allows."""
        return tokens(self.pace, self.jobs, self.deps.policy) - self.calls

    def is_out_of_time(self) -> bool:
        """Whether the round must stop so that it ends within its lease."""
        return self.deps.clock.monotonic() > self.until

    def age(self, job: UpstreamJob) -> float:
        """Seconds since the upstream made a job, by its own date; infinite if it gives none."""
        if job.created_at is None:
            return float("inf")
        return (self.deps.clock.now() - job.created_at).total_seconds()

    def least_age(self, job: UpstreamJob) -> float:
        """The least age that a job can have by our clock, in seconds."""
        return self.age(job) - self.memory.clock_offset - _LIST_LAG_SECONDS

    async def record(self, news: Sequence[JobReport]) -> None:
        """Write starts and ends, and count them."""
        recorded = await reports.record(self.deps, news, began_at=self.began_at)
        self.durations += recorded.took
        self.ended |= {
            report.job.id
            for report in news
            if isinstance(report.move, Finish) and report.job.id not in recorded.failed
        }
        self.has_started_jobs |= any(isinstance(report.move, Start) for report in news)
