"""Poll: learn what became of the jobs at the upstream, one credential at a time."""

from contextlib import suppress
from uuid import UUID

from gateway.core.schedule import learn, next_poll
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.health import Standing, is_unwell, judge_credential
from gateway.flows.patience import patiently
from gateway.flows.tick import Memory, Tick
from gateway.ports import Access, Denied, Verb
from gateway.store import polls
from gateway.store.polls import ToPoll

VERB: Verb = "poll"
_CREDENTIALS = 10_000


class Poller:
    """Polls for one process."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._memory: dict[UUID, Memory] = {}

    async def claim(self, room: int) -> int:
        """Claim credentials that are due, start to poll them, and say how many."""
        deps, token = self._deps, self._deps.ids.uuid()
        async with deps.db.single() as tx:
            due = await polls.claim(tx, room, lease=deps.policy.lease, token=token)
        if due:
            deps.reached("poll.claimed")
        for credential in due:
            deps.slots.start(VERB, self._poll(credential, token))
        return len(due)

    async def next_due(self) -> float | None:
        """Seconds until a credential is due; None when no job is at the upstream."""
        async with self._deps.db.single() as tx:
            return await polls.next_due(tx)

    async def _poll(self, credential: ToPoll, token: UUID) -> None:
        deps, started = self._deps, self._deps.clock.monotonic()
        tick = Tick(
            deps,
            credential,
            self._access(credential),
            polls.pace_of(credential.pace),
            self._remember(credential.id),
        )
        # What a lost database kept from being written will be learned again; only the credential
        # must not stay taken.
        with suppress(Unavailable):
            await tick.run()
        deps.reached("poll.asked")
        until = started + deps.policy.lease
        await patiently(deps.clock, until, lambda: self._release(credential, token, tick))
        deps.reached("poll.released")
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

    async def _release(self, credential: ToPoll, token: UUID, tick: Tick) -> None:
        deps = self._deps
        pace = learn(tick.pace, tick.durations)
        rest = await self._judge(credential, tick)
        # Nothing is only certain to be in flight where that was asked; then no round is due.
        idle = tick.in_flight is not None and not tick.jobs
        wait = None if idle else max(next_poll(tick.groups, pace, deps.policy), rest)
        async with deps.db.single() as tx:
            await polls.release(
                tx, credential.id, token, wait=wait, list_order=tick.order, pace=pace
            )

    async def _judge(self, credential: ToPoll, tick: Tick) -> float:
        standing = Standing(
            credential.id,
            credential.tenant_id,
            credential.version,
            credential.failures,
            credential.rejected,
        )
        if not (tick.troubles or is_unwell(standing)):
            return 0.0
        async with self._deps.db.begin() as tx:
            return await judge_credential(tx, self._deps, standing, tick.troubles)

    def _access(self, credential: ToPoll) -> Access | Denied:
        return self._deps.access(
            credential.tenant_id,
            credential.id,
            credential.version,
            credential.base_url,
            credential.sealed,
        )

    def _remember(self, credential_id: UUID) -> Memory:
        memory = self._memory.pop(credential_id, None) or Memory()
        self._memory[credential_id] = memory
        if len(self._memory) > _CREDENTIALS:
            del self._memory[next(iter(self._memory))]
        return memory
