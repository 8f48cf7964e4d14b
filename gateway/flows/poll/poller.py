"""The poller: claim credentials whose jobs are due, and run one polling round for each.

It runs when a `poll` wake-up arrives or a credential is due, up to the free slots of the process.
It promises that one process at a time polls a credential (the lease), and that the next round is
written down with what this one taught: pace, list order, health of the credential.
A crash leaves the lease and a strike. Another process polls after 26 s at the latest, and after two
strikes it checks the jobs in isolation.
"""

from uuid import UUID

from gateway.core.policy import Policy
from gateway.core.schedule.polling import Pace, learn, next_poll, pay
from gateway.flows.claim.lease import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.flows.poll.access import health_of
from gateway.flows.poll.memory import PollMemory
from gateway.flows.poll.round import RoundResult, run_round
from gateway.flows.upstream.circuit_breaker import is_failing, is_probe, judge_credential
from gateway.ports import Verb
from gateway.store.work import circuit_breaker, polls
from gateway.store.work.polls import ToPoll

VERB: Verb = "poll"
# Credentials polled within so many seconds count as polled side by side.
_BESIDE_SECONDS = 1.0


class Poller:
    """Polls in one process; its memory of credentials is bounded by the policy."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._memory: dict[UUID, PollMemory] = {}
        # When each credential was last polled, for one second.
        self._lately: dict[UUID, float] = {}

    async def claim(self, room: int) -> int:
        """Claim credentials that are due, start to poll them, and say how many."""
        deps, token = self._deps, self._deps.ids.uuid()
        async with claiming(deps, "poll", token, deps.db.single()) as tx:
            due = await polls.claim(
                tx,
                room,
                lease=deps.policy.lease,
                breaker=deps.policy.breaker_failures,
                token=token,
            )
        if due:
            deps.crash_point("poll.claimed")
        for credential in due:
            deps.slots.start(VERB, self._poll(credential, token))
        return len(due)

    async def next_due(self) -> float | None:
        """Seconds until a credential is due; None when no job is at the upstream."""
        async with self._deps.db.single() as tx:
            return await polls.next_due(tx)

    async def _poll(self, credential: ToPoll, token: UUID) -> None:
        deps, started = self._deps, self._deps.clock.monotonic()
        pace = polls.pace_of(credential.pace)
        result = await run_round(deps, credential, pace, self._memory_of(credential.id))
        deps.crash_point("poll.asked")
        # The credential must be released, or it would rest for its whole lease.
        await retry_while_unavailable(
            deps.clock,
            started + deps.policy.lease,
            lambda: self._release(credential, token, pace, result),
        )
        deps.crash_point("poll.released")
        deps.observer.done(
            "poll",
            "ok" if not result.troubles else type(result.troubles[0]).__name__.lower(),
            seconds=deps.clock.monotonic() - started,
            credential_id=credential.id,
            tenant_id=credential.tenant_id,
            in_flight=result.jobs,
            calls=result.calls,
            ended=len(result.durations),
        )

    async def _release(
        self, credential: ToPoll, token: UUID, pace: Pace, result: RoundResult
    ) -> None:
        """Write the health of the credential, its pace, and when its next round is due."""
        deps = self._deps
        ended = len(result.durations)
        left = max(result.jobs - ended, 0)
        beside = self._count_beside(credential.id)
        pace = learn(pace, result.durations)
        pace = pay(pace, deps.policy, calls=result.calls, ended=ended, left=left)
        async with deps.db.begin() as tx:
            rest = 0.0
            was_probe_used = result.calls > 0 and not result.is_substitute
            if is_probe(health_of(credential), deps.policy) and not was_probe_used:
                await circuit_breaker.unpause(tx, credential.id)
            if result.troubles or (result.calls and is_failing(result.health)):
                rest = await judge_credential(tx, deps, result.health, result.troubles)
            await polls.release(
                tx,
                credential.id,
                token,
                wait=_wait(result, pace, deps.policy, left=left, rest=rest, beside=beside),
                list_order=result.list_order,
                pace=pace,
                is_safe=result.is_safe,
            )

    def _count_beside(self, credential_id: UUID) -> int:
        """How many other credentials this process polled within the last second."""
        now = self._deps.clock.monotonic()
        self._lately = {id_: at for id_, at in self._lately.items() if at > now - _BESIDE_SECONDS}
        self._lately.pop(credential_id, None)
        others = len(self._lately)
        self._lately[credential_id] = now
        return others

    def _memory_of(self, credential_id: UUID) -> PollMemory:
        """The memory of a credential, which is now the last one to be dropped."""
        memory = self._memory.pop(credential_id, None) or PollMemory()
        self._memory[credential_id] = memory
        if len(self._memory) > self._deps.policy.remembered_credentials:
            del self._memory[next(iter(self._memory))]
        return memory


def _wait(
    result: RoundResult, pace: Pace, policy: Policy, *, left: int, rest: float, beside: int
) -> float | None:
    """Seconds until the next round; None if no job is at the upstream."""
    if result.was_cut_short:
        return max(policy.poll_min, rest)
    if not result.groups:
        return None
    return max(next_poll(result.groups, left, pace, policy, beside=beside), rest)
