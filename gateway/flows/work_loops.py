"""Sessions: what a wake-up starts. Each claims and acts until nothing is due."""

from collections.abc import Awaitable, Callable
from functools import partial
from uuid import UUID

from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.bulk.deliveries import step
from gateway.flows.deliver.deliverer import Deliverer
from gateway.flows.deps import Deps
from gateway.flows.poll.poller import Poller
from gateway.flows.submit.reconcile import Reconciler
from gateway.flows.submit.submitter import Submitter
from gateway.ports import Verb

_POLL_CONCURRENCY = 50
# Credentials that come due within this time are claimed together.
_POLL_PAUSE = 0.02
_POLL_STEP = 0.25
_LONGEST_WAKE = 60.0
# Some work that is under way may have become slow by then, and so left its room.
_LOOK_AGAIN_SECONDS = 0.5


class WorkLoops:
    """The verbs of one worker."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._reconciler = Reconciler(deps)
        self._submitter = Submitter(deps)
        self._poller = Poller(deps)
        self._deliverer = Deliverer(deps)
        self._acceptor = Acceptor(deps)  # for the jobs that bulk operations retry
        self._served = UUID(int=0)  # the tenant whose bulk operation had the last turn

    async def submit(self) -> None:
        """Submit all that is due and has room, and look into what is in doubt."""
        room = self._deps.policy.submit_concurrency
        await self._reconciler.claim()
        await self._quarantine("submit", self._submitter.claim_suspect)
        slots = self._deps.slots
        await self._work("submit", lambda: room - slots.used("submit"), self._submitter.claim)

    async def deliver(self) -> None:
        """Send all deliveries that are due."""
        await self._quarantine("deliver", self._deliverer.claim_suspect)
        slots, most = self._deps.slots, self._deps.policy.deliver_concurrency
        # Receivers that hang must not keep the webhooks of all others waiting.
        room = partial(slots.free_excluding_slow, "deliver", most)
        await self._work("deliver", room, self._deliverer.claim)

    async def bulk(self) -> None:
        """Do what is due of bulk operations."""
        end = self._deps.clock.monotonic() + self._deps.policy.session
        while not self._deps.slots.closing:
            served = await step(self._deps, self._acceptor, self._served)
            if served is None:
                return
            self._served = served
            if self._deps.clock.monotonic() > end:
                self._deps.queue.wake("bulk")
                return

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

    async def _quarantine(self, verb: Verb, claim: Callable[[], Awaitable[bool]]) -> None:
        """Handle one of what seems to bring processes down, and if possible nothing beside it.

        What takes longer goes on while the others are served; and so that many of them keep nobody
        waiting, the next one has its turn after those.
        """
        slots = self._deps.slots
        if not slots.closing and not slots.has_quarantined(verb) and await claim():
            await slots.wait_idle(verb, self._deps.policy.quiet)
            self._deps.queue.wake(verb)

    async def _work(
        self, verb: Verb, room: Callable[[], int], claim: Callable[[int], Awaitable[int]]
    ) -> None:
        slots, end = self._deps.slots, self._deps.clock.monotonic() + self._deps.policy.session
        while not slots.closing:
            free = room()
            if free <= 0:
                await slots.wait_for_slot(_LOOK_AGAIN_SECONDS)
            elif await claim(free) == 0:
                return
            if self._deps.clock.monotonic() > end:
                self._deps.queue.wake(verb)
                return
