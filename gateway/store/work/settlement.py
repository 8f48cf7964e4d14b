"""The end of jobs, and what is written in the same transaction: event and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.store.database import Tx
from gateway.store.feed import PLACE
from gateway.store.work.jobs import COLUMNS, job_of, our_time

_STARTED_AT = f"COALESCE(j.started_at, {our_time('u.started_at')})"

# What was told of its start stays so, and no job ends before it.
_FINISH = f"""
UPDATE job j SET state = u.state, result = u.result, error = u.error, lease_token = NULL,
  started_at = {_STARTED_AT}, version = j.version + 1,
  completed_at = GREATEST({_STARTED_AT}, COALESCE({our_time("u.completed_at")}, now()))
FROM unnest($1::uuid[], $2::text[], $3::json[], $4::json[], $5::timestamptz[], $6::timestamptz[],
  $7::uuid[], $8::timestamptz[])
  AS u(id, state, result, error, started_at, completed_at, token, made_at), tenant t
WHERE j.id = u.id AND j.state IN ('accepted', 'submitting', 'submitted', 'running')
  AND (u.token IS NULL OR j.lease_token = u.token) AND t.id = j.tenant_id
RETURNING {COLUMNS}"""

_EVENTS = f"""
INSERT INTO event (id, tenant_id, job_id, type, body, endpoint_id, is_sample, xact)
SELECT *, {PLACE} FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[],
  $7::bool[])"""

_RECEIVERS = """
SELECT id, tenant_id, events, disabled_at IS NOT NULL FROM endpoint
WHERE tenant_id = ANY($1::uuid[]) AND deleted_at IS NULL"""

_DELIVERIES = """
INSERT INTO delivery
  (id, tenant_id, event_id, job_id, endpoint_id, url, lane, state, type, last_error)
SELECT *, CASE WHEN u.state = 'parked' THEN 'the endpoint is disabled' END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::uuid[],
  $8::text[], $9::text[])
  AS u(id, tenant_id, event_id, job_id, endpoint_id, url, lane, state, type)"""


class JobEnd(NamedTuple):
    """How one job ends; the token is required where only the holder of the lease may say so.

    The times are by the upstream's clock, which also says when the job was made there.
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

    A sample is for one endpoint alone and in no feed; without an endpoint it is only for those who
    follow the feed with samples.
    """

    id: UUID
    tenant_id: UUID
    job_id: UUID | None
    type: str
    body: str
    endpoint_id: UUID | None = None
    is_sample: bool = False


class NewDelivery(NamedTuple):
    """An event owed to one receiver; its type is looked up where it is not given."""

    id: UUID
    tenant_id: UUID
    event_id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str | None
    lane: UUID
    state: str
    type: str | None = None


async def finish(tx: Tx, endings: Sequence[JobEnd]) -> list[Job]:
    """End jobs that are still open; returns those for which this was the end."""
    return [
        job_of(row)
        for row in await tx.rows(_FINISH, *_columns(sorted(endings, key=_job), JobEnd._fields))
    ]


async def receivers(tx: Tx, tenant_ids: Sequence[UUID]) -> list[SubscribedEndpoint]:
    """The endpoints of tenants, also disabled ones."""
    return [SubscribedEndpoint(*row) for row in await tx.rows(_RECEIVERS, list(tenant_ids))]


async def add_events(tx: Tx, events: Sequence[NewEvent]) -> None:
    """Store events."""
    await tx.run(_EVENTS, *_columns(events, NewEvent._fields))


async def add_deliveries(tx: Tx, deliveries: Sequence[NewDelivery]) -> None:
    """Store deliveries that are due at once."""
    await tx.run(_DELIVERIES, *_columns(deliveries, NewDelivery._fields))


def _job(ending: JobEnd) -> UUID:
    return ending.id


def _columns(rows: Sequence[tuple[object, ...]], names: tuple[str, ...]) -> list[list[object]]:
    return [[row[number] for row in rows] for number in range(len(names))]
