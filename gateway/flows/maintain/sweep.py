"""The sweep: find rows whose wake-up was lost, and expire jobs past their deadline.

It runs every few seconds in each worker; an advisory lock lets one of them do a round. It wakes
the verbs that have late rows, checks for a database that went back in time (restore detector),
deletes cancelled jobs upstream and prunes a little.
It promises that a lost wake-up or a flushed Redis costs seconds, not jobs. A crash leaves nothing:
the next round finds the same rows.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple
from uuid import UUID

from gateway.core.lifecycle import expired
from gateway.errors import Unavailable
from gateway.flows.claim.mark_in_doubt import mark_waiting_in_doubt, renew_feed
from gateway.flows.deps import Deps
from gateway.flows.maintain.prune import prune_some
from gateway.flows.process.restore_detector import is_behind
from gateway.flows.settle.settlement import announce, ending, settle
from gateway.flows.upstream.delete_job import delete_upstream
from gateway.ports import Verb
from gateway.store import processes, throughput
from gateway.store.work import bulk_operations, restore_detection, sweeps
from gateway.store.work.sweeps import Late

# A row that is due for longer than this has lost its wake-up.
_GRACE = 3.0
# Rows that come due within this time get a wake-up now. It is longer than the time between rounds.
_SOON = 8.0
_BATCH = 500
_PRUNE_SECONDS = 1.0


class Found(NamedTuple):
    """What one round found: late rows, credentials without a next poll, and a due bulk operation."""

    late: Late
    forgotten: int
    bulk_is_due: bool


async def sweep(deps: Deps) -> None:
    """Do one round; if another worker sweeps just now, do nothing."""
    started = deps.clock.monotonic()
    found = await _look(deps)
    if found is None:
        return
    due: dict[str, Any] = _wake(deps, found)
    expired = await _expire(deps)
    deleted = await delete_upstream(deps)
    pruned = await prune_some(deps, _PRUNE_SECONDS)
    deps.observer.done(
        "sweep",
        "late" if any(due.values()) else "quiet",
        seconds=deps.clock.monotonic() - started,
        expired=expired,
        deleted=deleted,
        pruned=sum(pruned.values()),
        **due,
    )


async def _look(deps: Deps) -> Found | None:
    """Find late rows, and repair what a single row can; None if another worker sweeps."""
    deps.restore_detector.learn(await deps.queue.mirrored())
    known = deps.restore_detector.known
    async with deps.db.begin() as tx:
        if not await sweeps.lead(tx):
            return None
        id_, count = await restore_detection.hold_beacon(tx)
        went_back = is_behind(known, id_, count)
        cluster = await restore_detection.cluster_of(tx)
        has_moved = await restore_detection.has_moved(tx, cluster)
        if not went_back:
            id_, count = await restore_detection.beat(tx, cluster)
        forgotten = await sweeps.remember(tx)
        await sweeps.put_away(tx)
        await processes.forget(tx)
        await throughput.forget(tx)
        late = await sweeps.late(tx, _GRACE, deps.policy.max_in_flight, _SOON)
        found = Found(late, forgotten, await bulk_operations.is_due(tx))
    if has_moved:
        await renew_feed(deps)
    if went_back:
        await mark_waiting_in_doubt(deps)
    else:
        deps.restore_detector.learn({id_: count})
        deps.queue.mirror(id_, count)
    return found


def _wake(deps: Deps, found: Found) -> dict[str, int]:
    """Send the wake-ups that are missing; returns the number of late rows by verb."""
    late = found.late
    due: dict[Verb, int] = {
        "submit": late.accepted + late.doubtful,
        "poll": late.credentials + found.forgotten,
        "deliver": late.deliveries,
    }
    for verb, rows in due.items():
        if rows:
            deps.queue.wake(verb)
    for seconds in late.submits_soon:
        deps.queue.wake("submit", after=float(seconds))
    for seconds in late.deliveries_soon:
        deps.queue.wake("deliver", after=float(seconds))
    if found.bulk_is_due:
        deps.queue.wake("bulk")
    # While rows of a kind are being handled, the others wait for their turn, not for a wake-up.
    if late.submitting:
        due["submit"] = 0
    if late.delivering:
        due["deliver"] = 0
    return {str(verb): rows for verb, rows in due.items()}


async def _expire(deps: Deps) -> int:
    """Expire jobs past their deadline; a job that cannot be expired holds up no other."""
    async with deps.db.single() as tx:
        ids = await sweeps.expired(tx, _BATCH)
    try:
        return await _end(deps, ids)
    except Unavailable:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the other jobs go on
        deps.slots.report("submit", error)
    ended = 0
    for job_id in ids:
        with suppress(Exception):  # it was reported with the batch
            ended += await _end(deps, [job_id])
    return ended


async def _end(deps: Deps, ids: Sequence[UUID]) -> int:
    async with deps.db.begin() as tx:
        settled = await settle(tx, deps, [ending(job_id, expired()) for job_id in ids])
        deps.crash_point("sweep.settled")
    deps.crash_point("sweep.committed")
    announce(deps, settled)
    return len(settled.jobs)
