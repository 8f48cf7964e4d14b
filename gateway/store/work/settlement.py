"""The end of jobs, and what is written in the same transaction: event and deliveries.

The flow gateway/flows/settle calls these in one transaction: a job reaches exactly one terminal state,
once, and its event and its deliveries exist exactly when it has. Jobs are locked in the order of their
ids, so two processes that settle the same jobs do not deadlock. A crash before the commit leaves the job
open, and the next poll or lookup settles it.
"""

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.store.conditions import OPEN_STATES
from gateway.store.database import Tx
from gateway.store.feed import PLACE
from gateway.store.statement import Query, Statement, columns
from gateway.store.work.jobs import COLUMNS, job_of, our_time


class JobEnd(NamedTuple):
    """How one job ends; with a token only while that is the fencing token of its lease.

    The times are by the upstream's clock; `made_at` is when the job was made there.
    """

    id: UUID
    state: str
    result: str | None
    error: str | None
    started_at: datetime | None
    completed_at: datetime | None
    token: UUID | None = None
    made_at: datetime | None = None


class SubscribedEndpoint(NamedTuple):
    """An endpoint as the fan-out sees it."""

    id: UUID
    tenant_id: UUID
    events: list[str]
    disabled: bool


class NewEvent(NamedTuple):
    """An event whose body is frozen.

    A sample with an endpoint is for that endpoint alone and in no feed. A sample without one is shown
    only to readers of the feed that ask for samples.
    """

    id: UUID
    tenant_id: UUID
    job_id: UUID | None
    type: str
    body: str
    endpoint_id: UUID | None = None
    is_sample: bool = False


class NewDelivery(NamedTuple):
    """An event owed to one receiver; where no type is given, a trigger looks it up."""

    id: UUID
    tenant_id: UUID
    event_id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str | None
    lane: UUID
    state: str
    type: str | None = None


# A start that callers were told of stays, and no job ends before it.
_STARTED_AT = f"COALESCE(j.started_at, {our_time('u.started_at')})"

_FINISH = Query(
    f"""
UPDATE job j SET state = u.state, result = u.result, error = u.error, lease_token = NULL,
  started_at = {_STARTED_AT}, version = j.version + 1,
  completed_at = GREATEST({_STARTED_AT}, COALESCE({our_time("u.completed_at")}, now()))
FROM unnest(:id::uuid[], :state::text[], :result::json[], :error::json[], :started_at::timestamptz[],
  :completed_at::timestamptz[], :token::uuid[], :made_at::timestamptz[])
  AS u(id, state, result, error, started_at, completed_at, token, made_at), tenant t
WHERE j.id = u.id AND j.id = ANY(:id::uuid[]) AND j.state IN {OPEN_STATES}
  AND (u.token IS NULL OR j.lease_token = u.token) AND t.id = j.tenant_id
RETURNING {COLUMNS}""",
    Job,
    job_of,
)

_ADD_EVENTS = Statement(
    f"""
INSERT INTO event (id, tenant_id, job_id, type, body, endpoint_id, is_sample, xact)
SELECT *, {PLACE} FROM unnest(:id::uuid[], :tenant_id::uuid[], :job_id::uuid[], :type::text[],
  :body::text[], :endpoint_id::uuid[], :is_sample::bool[])"""
)

_RECEIVERS = Query(
    """
SELECT id, tenant_id, events, disabled_at IS NOT NULL AS disabled FROM endpoint
WHERE tenant_id = ANY(:tenant_ids::uuid[]) AND deleted_at IS NULL""",
    SubscribedEndpoint,
)

_ADD_DELIVERIES = Statement(
    """
INSERT INTO delivery
  (id, tenant_id, event_id, job_id, endpoint_id, url, lane, state, type, last_error)
SELECT *, CASE WHEN u.state = 'parked' THEN 'the endpoint is disabled' END
FROM unnest(:id::uuid[], :tenant_id::uuid[], :event_id::uuid[], :job_id::uuid[],
  :endpoint_id::uuid[], :url::text[], :lane::uuid[], :state::text[], :type::text[])
  AS u(id, tenant_id, event_id, job_id, endpoint_id, url, lane, state, type)"""
)


async def finish(tx: Tx, endings: Sequence[JobEnd]) -> list[Job]:
    """End those of these jobs that are still open; returns the jobs that this ended.

    Where an ending has a token, the job must still have that fencing token.
    """
    in_order = sorted(endings, key=attrgetter("id"))
    return await _FINISH.rows(tx, **columns(JobEnd, in_order))


async def receivers(tx: Tx, tenant_ids: Sequence[UUID]) -> list[SubscribedEndpoint]:
    """The endpoints of tenants, including disabled ones, in no order."""
    return await _RECEIVERS.rows(tx, tenant_ids=list(tenant_ids))


async def add_events(tx: Tx, events: Sequence[NewEvent]) -> None:
    """Store events, with the position of this transaction in the feed."""
    await _ADD_EVENTS.run(tx, **columns(NewEvent, events))


async def add_deliveries(tx: Tx, deliveries: Sequence[NewDelivery]) -> None:
    """Store deliveries that are due at once, or parked."""
    await _ADD_DELIVERIES.run(tx, **columns(NewDelivery, deliveries))
