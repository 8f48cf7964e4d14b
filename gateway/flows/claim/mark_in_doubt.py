"""Restore: a database that went back in time may call jobs waiting that the upstream has already.

All of them are looked up before they are submitted.
"""

from collections.abc import Sequence
from uuid import UUID

from gateway.flows.deps import Deps
from gateway.flows.process.restore_detector import is_behind
from gateway.store import feed
from gateway.store.work import restore_detection


async def mark_waiting_in_doubt(
    deps: Deps, claimed: Sequence[UUID] = (), token: UUID | None = None
) -> None:
    """Have every waiting job looked up upstream first, if the database is still behind.

    What this process has claimed by a token from a database that was behind is looked up in any
    case: another process that was faster has left it alone.
    """
    started = deps.clock.monotonic()
    known = deps.restore_detector.known
    await renew_feed(deps)
    async with deps.db.begin() as tx:
        id_, count = await restore_detection.hold_beacon(tx)
        jobs = await restore_detection.distrust_claimed(tx, claimed, token) if token else 0
        if not is_behind(known, id_, count):
            return
        jobs += await restore_detection.distrust(tx)
        count = deps.restore_detector.after(id_)
        await restore_detection.set_beacon(tx, count)
        deps.crash_point("restore.distrusted")
    deps.crash_point("restore.committed")
    deps.restore_detector.learn({id_: count})
    deps.queue.mirror(id_, count)
    deps.queue.wake("submit")
    seconds = deps.clock.monotonic() - started
    deps.observer.done("restore", "distrusted", seconds=seconds, jobs=jobs)


async def renew_feed(deps: Deps) -> None:
    """Begin a new epoch of the feed, if the database went back or is another cluster's by now.

    Before anything tells that this was noticed: whoever dies in between has it noticed again.
    """
    started = deps.clock.monotonic()
    known = deps.restore_detector.known
    async with deps.db.begin() as tx:
        id_, count = await restore_detection.hold_beacon(tx)
        cluster = await restore_detection.cluster_of(tx)
        if not (is_behind(known, id_, count) or await restore_detection.has_moved(tx, cluster)):
            return
        events = await feed.begin_epoch(tx, cluster)
    seconds = deps.clock.monotonic() - started
    deps.observer.done("feed", "renewed", seconds=seconds, events=events)
