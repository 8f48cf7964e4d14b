"""Settle: end a job, and write its event, its deliveries and its usage in the same transaction.

Called inside the transactions of submit, poll, delete and sweep. Promises: a job ends exactly once,
however many callers try, and its event exists if and only if it has ended. `announce` runs after the
commit; if a crash prevents it, the sweep finds the due deliveries.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.events import job_event, job_event_id, job_event_type
from gateway.core.lifecycle import Finish
from gateway.core.model import DeliveryState, Job
from gateway.core.webhooks.judge_reply import callback_lane
from gateway.flows.deps import Deps
from gateway.flows.settle.watchers import announce_feed, announce_jobs
from gateway.store.database import Tx
from gateway.store.usage import rollups
from gateway.store.work import settlement
from gateway.store.work.settlement import JobEnd, NewDelivery, NewEvent, SubscribedEndpoint


@dataclass(frozen=True, slots=True)
class Settled:
    """The jobs that a transaction ended, and how many deliveries are due because of that.

    `began_at` is when that began, of the monotonic clock.
    """

    jobs: Sequence[Job] = ()
    deliveries: int = 0
    began_at: float = 0.0


def ending(
    job_id: UUID, finish: Finish, token: UUID | None = None, made_at: datetime | None = None
) -> JobEnd:
    """The row that ends a job; with a lease token it is written only while that lease holds.

    `made_at` is the upstream's time of creation, by which its other times are converted.
    """
    return JobEnd(
        job_id,
        finish.state.value,
        finish.result,
        finish.error and finish.error.json(),
        finish.started_at,
        finish.completed_at,
        token,
        made_at,
    )


async def settle(
    tx: Tx, deps: Deps, endings: Sequence[JobEnd], *, event_type: str | None = None
) -> Settled:
    """End the jobs that are still open; jobs that have ended already stay as they are."""
    began_at = deps.clock.monotonic()
    jobs = await settlement.finish(tx, endings) if endings else []
    if not jobs:
        return Settled()
    deps.crash_point("settle.finished")
    owed = await publish_jobs(tx, deps, [(event_type or job_event_type(j.state), j) for j in jobs])
    deps.crash_point("settle.published")
    await rollups.add_jobs(tx, [job.id for job in jobs])
    return Settled(jobs, owed, began_at)


async def publish_jobs(tx: Tx, deps: Deps, news: Sequence[tuple[str, Job]]) -> int:
    """Store events about jobs, given as (type, job); returns how many deliveries are due now."""
    now = deps.clock.now()
    events: list[NewEvent] = []
    callbacks: dict[UUID, str] = {}
    for kind, job in news:
        event_id = job_event_id(kind, job.id)
        event = NewEvent(event_id, job.tenant_id, job.id, kind, job_event(kind, job, now))
        events.append(event)
        if job.callback_url is not None and job.completed_at is not None:
            callbacks[event.id] = job.callback_url
    return await publish(tx, deps, events, callbacks)


async def publish(
    tx: Tx,
    deps: Deps,
    events: Sequence[NewEvent],
    callbacks: Mapping[UUID, str] | None = None,
    *,
    but_not: UUID | None = None,
) -> int:
    """Store events with a delivery to each subscribed endpoint; returns how many are due now.

    Deliveries to disabled endpoints are parked until they are replayed. `but_not` is the endpoint
    that an event is about; it gets no delivery.
    """
    await settlement.add_events(tx, events)
    receivers: defaultdict[UUID, list[SubscribedEndpoint]] = defaultdict(list)
    for receiver in await settlement.receivers(tx, list({event.tenant_id for event in events})):
        receivers[receiver.tenant_id].append(receiver)
    owed = [
        _to_endpoint(deps, event, receiver)
        for event in events
        for receiver in receivers[event.tenant_id]
        if receiver.id != but_not and (not receiver.events or event.type in receiver.events)
    ]
    by_id = {event.id: event for event in events}
    owed += [_to_callback(deps, by_id[id_], url) for id_, url in (callbacks or {}).items()]
    if owed:
        await settlement.add_deliveries(tx, owed)
    return sum(delivery.state == DeliveryState.PENDING for delivery in owed)


def announce(deps: Deps, settled: Settled) -> None:
    """After the commit: wake the deliverers and the watchers, and report each ended job."""
    if settled.deliveries:
        deps.queue.wake("deliver")
    if settled.jobs:
        announce_jobs(deps, [job.id for job in settled.jobs])
        announce_feed(deps, [job.tenant_id for job in settled.jobs])
    took = deps.clock.monotonic() - settled.began_at
    for job in settled.jobs:
        deps.observer.done(
            "job",
            job.state.value,
            seconds=_between(job.created_at, job.completed_at),
            span=deps.span("settle", job.traceparent, ago=took),
            job_id=job.id,
            tenant_id=job.tenant_id,
            workflow=job.workflow,
            queue_seconds=_between(job.created_at, job.submitted_at),
            upstream_seconds=_between(job.submitted_at, job.completed_at),
        )


def _to_endpoint(deps: Deps, event: NewEvent, receiver: SubscribedEndpoint) -> NewDelivery:
    state = DeliveryState.PARKED if receiver.disabled else DeliveryState.PENDING
    return NewDelivery(
        deps.ids.uuid(),
        event.tenant_id,
        event.id,
        event.job_id,
        receiver.id,
        None,
        receiver.id,
        state.value,
        event.type,
    )


def _to_callback(deps: Deps, event: NewEvent, url: str) -> NewDelivery:
    lane = callback_lane(event.tenant_id, url)
    return NewDelivery(
        deps.ids.uuid(),
        event.tenant_id,
        event.id,
        event.job_id,
        None,
        url,
        lane,
        DeliveryState.PENDING.value,
        event.type,
    )


def _between(start: datetime | None, end: datetime | None) -> float:
    return max((end - start).total_seconds(), 0.0) if start and end else 0.0
