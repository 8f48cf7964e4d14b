"""Work loops: what a wake-up starts. Each loop claims rows and starts tasks until nothing is due.

One loop per verb (submit, poll, deliver, bulk) runs at a time in a process. A loop ends after
`policy.session` seconds and wakes itself again, so a deploy or a shutdown waits for none. Loops keep no
state but the fair turn of bulk operations; a crash leaves only leases, which lapse.
"""

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
# By then some tasks may have become slow, and left their slots to others.
_LOOK_AGAIN_SECONDS = 0.5


class WorkLoops:
    """The work loops of one worker."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self._reconciler = Reconciler(deps)
        self._submitter = Submitter(deps)
        self._poller = Poller(deps)
        self._deliverer = Deliverer(deps)
        self._acceptor = Acceptor(deps)  # for the jobs that bulk operations retry
        self._served = UUID(int=0)  # the tenant whose bulk operation had the last turn

    async def submit(self) -> None:
        """Submit all that is due and has room, and reconcile what is in doubt."""
        room = self._deps.policy.submit_concurrency
        await self._reconciler.claim()
        await self._quarantine("submit", self._submitter.claim_quarantined)
        slots = self._deps.slots
        await self._work("submit", lambda: room - slots.used("submit"), self._submitter.claim)

    async def deliver(self) -> None:
        """Send all deliveries that are due."""
        await self._quarantine("deliver", self._deliverer.claim_quarantined)
        slots, most = self._deps.slots, self._deps.policy.deliver_concurrency
        # Receivers that hang must not hold up the webhooks of all others.
        room = partial(slots.free_excluding_slow, "deliver", most)
        await self._work("deliver", room, self._deliverer.claim)

    async def bulk(self) -> None:
        """Do the batches of bulk operations that are due."""
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
        """Poll credentials as they come due, as long as the next one is due within a second."""
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
        """Start one quarantined row, and for up to `policy.quiet` seconds nothing beside it.

        If it takes longer, it goes on beside the others. The next quarantined row has its turn after
        them, so that many such rows hold up nobody.
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
