"""Sessions: what a wake-up starts. Each claims and acts until nothing is due."""

from collections.abc import Awaitable, Callable

from gateway.flows.deliver import Deliverer
from gateway.flows.deps import Deps
from gateway.flows.doubt import claim_doubtful
from gateway.flows.poll import Poller
from gateway.flows.submit import Submitter
from gateway.ports import Verb

_POLL_CONCURRENCY = 50
# Credentials that come due within this time are claimed together.
_POLL_PAUSE = 0.08
_POLL_STEP = 0.25
_LONGEST_WAKE = 60.0


class Sessions:
    """The three verbs of one worker."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._submitter = Submitter(deps)
        self._poller = Poller(deps)
        self._deliverer = Deliverer(deps)

    async def submit(self) -> None:
        """Submit all that is due and has room, and look into what is in doubt."""
        room = self._deps.policy.submit_concurrency
        await claim_doubtful(self._deps, room)
        await self._work("submit", room, self._submitter.claim)

    async def deliver(self) -> None:
        """Send all deliveries that are due."""
        await self._work("deliver", self._deps.policy.deliver_concurrency, self._deliverer.claim)

    async def poll(self) -> None:
        """Poll credentials as they come due, for as long as one is due within moments."""
        clock, end = self._deps.clock, self._deps.clock.monotonic() + self._deps.policy.session
        while not self._deps.slots.closing:
            free = _POLL_CONCURRENCY - self._deps.slots.used("poll")
            if free > 0:
                await self._poller.claim(free)
            wait = await self._poller.next_due()
            if wait is None:
                return
            if wait > 1.0 or clock.monotonic() > end:
                self._deps.queue.wake("poll", after=min(max(wait, 0.0), _LONGEST_WAKE))
                return
            await clock.sleep(min(max(wait, _POLL_PAUSE), _POLL_STEP))

    async def _work(self, verb: Verb, room: int, claim: Callable[[int], Awaitable[int]]) -> None:
        slots, end = self._deps.slots, self._deps.clock.monotonic() + self._deps.policy.session
        while not slots.closing:
            free = room - slots.used(verb)
            if free <= 0:
                await slots.freed(1.0)
            elif await claim(free) == 0:
                return
            if self._deps.clock.monotonic() > end:
                self._deps.queue.wake(verb)
                return
