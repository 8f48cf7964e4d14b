"""The end of jobs, and all that is written in the same transaction: event, deliveries, usage."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from gateway.core.model import Job
from gateway.store.engine import Tx
from gateway.store.jobs import COLUMNS, job_of

_FINISH = f"""
UPDATE job j SET state = u.state, result = u.result, error = u.error, lease_token = NULL,
  started_at = COALESCE(u.started_at, j.started_at),
  completed_at = COALESCE(u.completed_at, now()), version = j.version + 1
FROM unnest($1::uuid[], $2::text[], $3::json[], $4::json[], $5::timestamptz[], $6::timestamptz[],
  $7::uuid[]) AS u(id, state, result, error, started_at, completed_at, token), tenant t
WHERE j.id = u.id AND j.state IN ('accepted', 'submitting', 'submitted', 'running')
  AND (u.token IS NULL OR j.lease_token = u.token) AND t.id = j.tenant_id
RETURNING {COLUMNS}"""

_EVENTS = """
INSERT INTO event (id, tenant_id, job_id, type, body)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])"""

_RECEIVERS = """
SELECT id, tenant_id, events, disabled_at IS NOT NULL FROM endpoint
WHERE tenant_id = ANY($1::uuid[]) AND deleted_at IS NULL"""

_DELIVERIES = """
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, url, lane, state)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[],
  $7::uuid[], $8::text[])"""

_USAGE = """
INSERT INTO usage_hour AS h (tenant_id, hour, workflow, status, error_code, jobs, wait_seconds,
  run_seconds)
SELECT u.tenant_id, date_trunc('hour', now()), u.workflow, u.status, u.error_code, u.jobs,
  u.wait_seconds, u.run_seconds
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::float8[],
  $7::float8[]) AS u(tenant_id, workflow, status, error_code, jobs, wait_seconds, run_seconds)
ON CONFLICT (tenant_id, hour, workflow, status, error_code) DO UPDATE SET
  jobs = h.jobs + excluded.jobs, wait_seconds = h.wait_seconds + excluded.wait_seconds,
  run_seconds = h.run_seconds + excluded.run_seconds"""


class Ending(NamedTuple):
    """How one job ends; the token is required where only the holder of the lease may say so."""

    id: UUID
    state: str
    result: str | None
    error: str | None
    started_at: datetime | None
    completed_at: datetime | None
    token: UUID | None = None


class Receiver(NamedTuple):
    """An endpoint as the fan-out sees it."""

    id: UUID
    tenant_id: UUID
    events: list[str]
    disabled: bool


class NewEvent(NamedTuple):
    """An event whose body is frozen."""

    id: UUID
    tenant_id: UUID
    job_id: UUID | None
    type: str
    body: str


class NewDelivery(NamedTuple):
    """An event owed to one receiver."""

    id: UUID
    tenant_id: UUID
    event_id: UUID
    job_id: UUID | None
    endpoint_id: UUID | None
    url: str | None
    lane: UUID
    state: str


class Usage(NamedTuple):
    """What a group of ended jobs adds to a roll-up row; seconds are sums."""

    tenant_id: UUID
    workflow: str
    status: str
    error_code: str
    jobs: int
    wait_seconds: float
    run_seconds: float


async def finish(tx: Tx, endings: Sequence[Ending]) -> list[Job]:
    """End jobs that are still open; returns those for which this was the end."""
    return [job_of(row) for row in await tx.rows(_FINISH, *_columns(sorted(endings, key=_job)))]


async def receivers(tx: Tx, tenant_ids: Sequence[UUID]) -> list[Receiver]:
    """The endpoints of tenants, also disabled ones."""
    return [Receiver(*row) for row in await tx.rows(_RECEIVERS, list(tenant_ids))]


async def add_events(tx: Tx, events: Sequence[NewEvent]) -> None:
    """Store events."""
    await tx.run(_EVENTS, *_columns(events))


async def add_deliveries(tx: Tx, deliveries: Sequence[NewDelivery]) -> None:
    """Store deliveries that are due at once."""
    await tx.run(_DELIVERIES, *_columns(deliveries))


async def add_usage(tx: Tx, usage: Sequence[Usage]) -> None:
    """Add to the roll-up of the present hour."""
    # Sorted, so that two workers that touch the same rows do not deadlock.
    await tx.run(_USAGE, *_columns(sorted(usage)))


def _job(ending: Ending) -> UUID:
    return ending.id


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
