"""Sweep: find what is due and that no wake-up came for; end what outlived its deadline."""

from gateway.core.lifecycle import expired
from gateway.flows.delete import delete_upstream
from gateway.flows.deps import Deps
from gateway.flows.settle import announce, ending, settle
from gateway.ports import Verb
from gateway.store import sweeps

# A wake-up may take this long without anybody calling it lost.
_GRACE = 3.0
_BATCH = 500


async def sweep(deps: Deps) -> None:
    """One round; of several workers that sweep at once, one does it."""
    started = deps.clock.monotonic()
    async with deps.db.begin() as tx:
        if not await sweeps.lead(tx):
            return
        forgotten = await sweeps.remember(tx)
        late = await sweeps.late(tx, _GRACE, deps.policy.max_in_flight)
        ids = await sweeps.expired(tx, _BATCH)
        settled = await settle(tx, deps, [ending(job_id, expired()) for job_id in ids])
        deps.reached("sweep.settled")
    deps.reached("sweep.committed")
    announce(deps, settled)
    due: dict[Verb, int] = {
        "submit": late.accepted + late.doubtful,
        "poll": late.credentials + forgotten,
        "deliver": late.deliveries,
    }
    for verb, rows in due.items():
        if rows:
            deps.queue.wake(verb)
    # What waits while others of its kind are served waits for its turn, not for a lost wake-up.
    if late.submitting:
        due["submit"] = 0
    if late.delivering:
        due["deliver"] = 0
    deleted = await delete_upstream(deps)
    deps.observer.done(
        "sweep",
        "late" if any(due.values()) else "quiet",
        seconds=deps.clock.monotonic() - started,
        expired=len(settled.jobs),
        deleted=deleted,
        **due,
    )
