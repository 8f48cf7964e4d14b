"""Poll: learn what became of the jobs at the upstream, one credential at a time."""

from uuid import UUID

from gateway.core.schedule import Pace, Policy, learn, next_poll, pay
from gateway.errors import Unavailable
from gateway.flows.claim.claiming import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.flows.poll.memory import PollMemory
from gateway.flows.poll.round import PollRound
from gateway.flows.upstream.credential_access import asking_for
from gateway.flows.upstream.credential_health import (
    CredentialHealth,
    is_failing,
    is_probe,
    judge_credential,
)
from gateway.ports import Verb
from gateway.store.tenancy import tenants
from gateway.store.work import polls
from gateway.store.work.polls import ToPoll

VERB: Verb = "poll"
_CREDENTIALS = 10_000
_MOMENT = 1.0


class Poller:
    """Polls for one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._memory: dict[UUID, PollMemory] = {}
        # When each credential was last polled, for as long as that is a moment ago.
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
        standing = _standing(credential)
        tick = PollRound(
            deps,
            credential,
            polls.pace_of(credential.pace),
            self._remember(credential.id),
            probe=is_probe(standing, deps.policy),
        )
        # What a lost database kept from being written will be learned again, and soon; only the
        # credential must not stay taken.
        try:
            standing = await self._ask(credential, standing, tick)
        except Unavailable:
            tick.is_cut_short = True
        deps.crash_point("poll.asked")
        until = started + deps.policy.lease
        await retry_while_unavailable(
            deps.clock, until, lambda: self._release(credential, token, standing, tick)
        )
        deps.crash_point("poll.released")
        deps.observer.done(
            "poll",
            "ok" if not tick.troubles else type(tick.troubles[0]).__name__.lower(),
            seconds=deps.clock.monotonic() - started,
            credential_id=credential.id,
            tenant_id=credential.tenant_id,
            in_flight=tick.jobs,
            calls=tick.calls,
            ended=len(tick.durations),
        )

    async def _ask(
        self, credential: ToPoll, standing: CredentialHealth, tick: PollRound
    ) -> CredentialHealth:
        """Run the round; the standing of the credential that it asked with."""
        deps = self._deps
        access = deps.access(
            credential.tenant_id,
            credential.id,
            credential.version,
            credential.base_url,
            credential.sealed,
        )
        if credential.rejected:
            async with deps.db.single() as tx:
                stored = await tenants.credential_by_id(tx, credential.id)
                asking = stored and await asking_for(tx, deps, stored)
            if asking is not None and asking.is_substitute:
                other = asking.credential
                standing = CredentialHealth(
                    other.id, other.tenant_id, other.version, 0, rejected=False
                )
                access, tick.is_substitute, tick.probe = asking.access, True, False
        await tick.run(access)
        return standing

    async def _release(
        self, credential: ToPoll, token: UUID, standing: CredentialHealth, tick: PollRound
    ) -> None:
        deps = self._deps
        ended = len(tick.durations)
        left = max(tick.jobs - ended, 0)
        pace = learn(tick.pace, tick.durations)
        beside = self._beside(credential.id)
        pace = pay(pace, deps.policy, calls=tick.calls, ended=ended, left=left)
        async with deps.db.begin() as tx:
            rest = 0.0
            if is_probe(_standing(credential), deps.policy) and (
                tick.is_substitute or not tick.calls
            ):
                await polls.unpause(tx, credential.id)
            if tick.troubles or (tick.calls and is_failing(standing)):
                rest = await judge_credential(tx, deps, standing, tick.troubles)
            await polls.release(
                tx,
                credential.id,
                token,
                wait=_wait(tick, pace, deps.policy, left=left, rest=rest, beside=beside),
                list_order=tick.order,
                pace=pace,
                is_safe=tick.is_safe,
            )

    def _beside(self, credential_id: UUID) -> int:
        """How many other credentials this process has polled a moment ago."""
        now = self._deps.clock.monotonic()
        self._lately = {id_: at for id_, at in self._lately.items() if at > now - _MOMENT}
        self._lately.pop(credential_id, None)
        others = len(self._lately)
        self._lately[credential_id] = now
        return others

    def _remember(self, credential_id: UUID) -> PollMemory:
        memory = self._memory.pop(credential_id, None) or PollMemory()
        self._memory[credential_id] = memory
        if len(self._memory) > _CREDENTIALS:
            del self._memory[next(iter(self._memory))]
        return memory


def _wait(
    tick: PollRound, pace: Pace, policy: Policy, *, left: int, rest: float, beside: int
) -> float | None:
    """Seconds until the next round; None where nothing is at the upstream."""
    if tick.is_cut_short:
        return max(policy.poll_min, rest)
    if not tick.groups:
        return None
    return max(next_poll(tick.groups, left, pace, policy, beside=beside), rest)


def _standing(credential: ToPoll) -> CredentialHealth:
    return CredentialHealth(
        credential.id,
        credential.tenant_id,
        credential.version,
        credential.failures,
        credential.rejected,
    )
