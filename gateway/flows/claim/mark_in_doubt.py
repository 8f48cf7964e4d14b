"""After a restore from a backup, mark all waiting jobs as in doubt, and begin a new feed epoch.

A restored database shows jobs as waiting that the upstream already has. Submitting them would run
them twice, so each is first looked up at the upstream (submit/reconcile.py). Runs when a claim or the
sweep sees that the database went back (process/restore_detector.py). It is one transaction under a
row lock, so of several processes one does it; after a crash the next claim notices the restore again.
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
    """Mark every waiting job as in doubt, if the database is still behind.

    `claimed` are the jobs that this process just claimed, under `token`. They are marked in any case:
    a faster process that handled the restore has left claimed jobs alone.
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
    """Begin a new epoch of the feed, if the database went back or now runs on another cluster.

    This commits before the restore is marked as handled: after a crash in between it is seen again.
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
