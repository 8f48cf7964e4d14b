"""Rows and values for tests, with as little said as a test needs to say."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.core.model import AccessKey, Attempt, Job, JobState, KeyKind, Limits, NewJob
from gateway.store.database import AnyRow, Tx
from gateway.store.job_search.lists import Page
from gateway.store.tenancy import saved_views, tenants
from gateway.store.tenancy.saved_views import ViewOwner
from gateway.store.tenancy.sessions import StoredSession
from gateway.store.webhooks import deliveries, endpoints
from gateway.store.webhooks.attempts import Recorded
from gateway.store.webhooks.deliveries import ToDeliver
from gateway.store.webhooks.endpoints import EndpointOptions
from gateway.store.work import jobs, settlement, submits
from gateway.store.work.settlement import NewDelivery, NewEvent
from gateway.store.work.submits import ToSubmit

MADE_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

# That of the examples of W3C Trace Context.
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_JOB = Job(
    id=UUID(int=1),
    tenant_id=UUID(int=2),
    tenant="acme",
    app="Acme",
    name="name",
    batch_name=None,
    workflow="flow",
    params="{}",
    copy_results_to=None,
    metadata="{}",
    callback_url=None,
    state=JobState.ACCEPTED,
    result=None,
    error=None,
    created_at=MADE_AT,
    submitted_at=None,
    started_at=None,
    completed_at=None,
    deadline_at=None,
    next_at=None,
    credential_id=None,
    upstream_id=None,
    submit_attempts=0,
    priority=0,
    version=1,
    retry_of=None,
    traceparent=None,
)


# --- Values -------------------------------------------------------------------------------------


def job_of(**changes: Any) -> Job:
    """A job as history would know it."""
    return replace(_JOB, **changes)


def new_job(tenant_id: UUID, **changes: Any) -> NewJob:
    """A job to accept."""
    return replace(NewJob(uuid7(), tenant_id, "name", "flow", "{}", "{}"), **changes)


def attempt_of(number: int = 1, **changes: Any) -> Attempt:
    """A try that was answered with 500."""
    tried = Attempt(
        number=number,
        started_at=MADE_AT,
        duration_ms=12,
        url="https://hooks.example/x",
        request_headers='{"a":"b"}',
        status=500,
        response_headers="{}",
        response_body="no",
        error_class="http_5xx",
        detail=None,
    )
    return replace(tried, **changes)


async def add_view(tx: Tx, tenant: UUID) -> None:
    """Add a saved view of a tenant."""
    await saved_views.put(
        tx, uuid7(), ViewOwner(tenant, ""), name=str(uuid7()), query="q", is_shared=False, most=9
    )


def session_of(**changes: Any) -> StoredSession:
    """A session of the console that just began."""
    now = datetime.now(UTC)
    session = StoredSession(
        id=uuid7(),
        tenant_id=None,
        key_id=None,
        kind="console",
        role="viewer",
        who="Ann",
        pages=[],
        return_url=None,
        theme="{}",
        created_at=now,
        expires_at=now + timedelta(hours=12),
        last_seen_at=now,
        address="203.0.113.7",
        is_key_ended=False,
    )
    return replace(session, **changes)


def key_of(**changes: Any) -> AccessKey:
    """An operator's access key."""
    key = AccessKey(
        id=uuid7(),
        key_id=uuid7().hex[-16:],
        kind=KeyKind.OPERATOR,
        tenant_id=None,
        tenants=None,
        name="a key",
        scopes=frozenset({"admin"}),
        digest=b"d" * 32,
        created_at=MADE_AT,
        expires_at=None,
        revoked_at=None,
        last_used_at=None,
    )
    return replace(key, **changes)


# --- Rows ---------------------------------------------------------------------------------------


async def add_tenant(tx: Tx, *, max_in_flight: int | None = None, credential: bool = True) -> UUID:
    """A tenant, with a credential unless told otherwise."""
    tenant_id = uuid7()
    await tenants.add(
        tx,
        tenant_id,
        slug=f"t-{tenant_id.hex}",
        name="Acme",
        metadata="{}",
        limits=Limits(None, max_in_flight),
    )
    if credential:
        await add_credential(tx, tenant_id)
    return tenant_id


async def add_credential(tx: Tx, tenant_id: UUID, version: int = 1) -> UUID:
    """A version of a tenant's credential."""
    row = await tenants.add_credential(
        tx,
        uuid7(),
        tenant_id,
        version=version,
        base_url=f"https://upstream.example/{version}",
        sealed=b"sealed",
    )
    return row.id


async def credential_of(tx: Tx, tenant_id: UUID) -> UUID:
    """The id of a tenant's newest credential."""
    found = await tenants.credential(tx, tenant_id)
    assert found is not None
    return found.id


async def add_jobs(tx: Tx, tenant_id: UUID, count: int = 1, **changes: Any) -> list[UUID]:
    """Waiting jobs, in the order of their ids."""
    new = [new_job(tenant_id, **changes) for _ in range(count)]
    assert await jobs.insert(tx, new) == {job.id for job in new}
    return [job.id for job in new]


async def claim_jobs(
    tx: Tx, limit: int = 100, *, token: UUID | None = None, **changes: Any
) -> list[ToSubmit]:
    """Claim as the engine does."""
    how: dict[str, Any] = {
        "in_flight": 1000,
        "lease": 30.0,
        "breaker": 5,
        "suspicious": 2,
    }
    return await submits.claim(tx, limit, **how | changes, token=token or uuid7())


async def add_submitted(tx: Tx, tenant_id: UUID, count: int = 1, **changes: Any) -> list[UUID]:
    """Jobs at the upstream, with their own ids there; nothing else of the tenant may wait."""
    ids = await add_jobs(tx, tenant_id, count, **changes)
    token = uuid7()
    claimed = await claim_jobs(tx, count, token=token)
    assert {job.id for job in claimed} == set(ids)
    await submits.submitted(tx, [(id_, token, f"up-{id_}") for id_ in ids])
    return ids


def options_of(**changes: Any) -> EndpointOptions:
    """An endpoint for all events, with nothing else said."""
    plain = EndpointOptions("https://hooks.example/x", "", [], [], None, None, None, None)
    return plain._replace(**changes)


async def add_endpoint(tx: Tx, tenant_id: UUID, *events: str, **options: Any) -> UUID:
    """An endpoint for these events, or for all."""
    wanted = options_of(events=list(events), **options)
    made = await endpoints.add(tx, uuid7(), tenant_id, "v1", wanted, most=1000)
    assert made is not None
    return made.id


async def add_deliveries(
    tx: Tx,
    tenant_id: UUID,
    endpoint_id: UUID | None = None,
    count: int = 1,
    *,
    lane: UUID | None = None,
    state: str = "pending",
    job_id: UUID | None = None,
) -> list[UUID]:
    """Deliveries that are due, to an endpoint or to a job's own callback in a lane."""
    events = [NewEvent(uuid7(), tenant_id, job_id, "test.ping", "{}") for _ in range(count)]
    await settlement.add_events(tx, events)
    url = "https://own.example/x" if endpoint_id is None else None
    owed = [
        NewDelivery(
            uuid7(),
            tenant_id,
            event.id,
            job_id,
            endpoint_id,
            url,
            endpoint_id or lane or uuid7(),
            state,
        )
        for event in events
    ]
    await settlement.add_deliveries(tx, owed)
    return [delivery.id for delivery in owed]


async def claim_deliveries(
    tx: Tx, limit: int = 100, *, token: UUID | None = None, **changes: Any
) -> list[ToDeliver]:
    """Claim as the engine does."""
    how: dict[str, Any] = {"ahead": limit, "free": 20, "lease": 30.0, "suspicious": 2}
    how["held"] = [one.id for one in await deliveries.hold_capped(tx)]
    return await deliveries.claim(tx, limit, **how | changes, token=token or uuid7())


async def claim_one(tx: Tx) -> tuple[ToDeliver, UUID]:
    """A delivery to a new endpoint that is being sent, and the token of its lease."""
    tenant = await add_tenant(tx)
    await add_deliveries(tx, tenant, await add_endpoint(tx, tenant))
    token = uuid7()
    (one,) = await claim_deliveries(tx, token=token)
    return one, token


def id_at(at: datetime) -> UUID:
    """An id as it would have been made at an instant."""
    time, chance = int(at.timestamp() * 1000) << 80, uuid7().int & ((1 << 80) - 1)
    return UUID(int=time | chance)


async def add_event(tx: Tx, tenant_id: UUID, kind: str = "test.ping", **fields: Any) -> UUID:
    """An event that nobody is owed."""
    given: dict[str, Any] = {"id": uuid7(), "job_id": None, "body": "{}"} | fields
    await settlement.add_events(tx, [NewEvent(tenant_id=tenant_id, type=kind, **given)])
    return given["id"]


def recorded_of(
    one: ToDeliver,
    token: UUID,
    state: str,
    delay: float = 0.0,
    **attempt: Any,
) -> Recorded:
    """What an attempt came to."""
    tried = attempt_of(one.attempts, **attempt)
    return Recorded(one.id, one.tenant_id, token, state, delay, tried)


# --- Looking and meddling -----------------------------------------------------------------------


def ids_in(page: Page) -> list[UUID]:
    """The jobs of a page of JSON."""
    return [UUID(one) for one in re.findall(r'\{"id":"([^"]+)","app":', "".join(page.texts))]


async def row_of(tx: Tx, table: str, id_: UUID) -> AnyRow:
    """A row as it stands, with `now` beside its columns."""
    row = await tx.row(f"SELECT *, now() AS now FROM {table} WHERE id = $1", id_)
    assert row is not None
    return row


async def put(tx: Tx, table: str, id_: UUID, **values: object) -> None:
    """Set columns of a row; a number of seconds in a column of time means that far from now."""
    for column, value in values.items():
        is_time = column.endswith(("_at", "_until", "_since")) and isinstance(value, (int, float))
        given = "now() + $2 * interval '1 second'" if is_time else "$2"
        assert await tx.run(f"UPDATE {table} SET {column} = {given} WHERE id = $1", id_, value) == 1


async def seconds_until(tx: Tx, table: str, id_: UUID, column: str) -> float:
    """How far from now a time of a row is."""
    row = await row_of(tx, table, id_)
    return (row[column] - row.now).total_seconds()


async def without_indexes(tx: Tx) -> None:
    """Have the rest of the transaction read tables as they lie, so that no order comes by chance."""
    for way in ("indexscan", "indexonlyscan", "bitmapscan"):
        await tx.rows(f"SET LOCAL enable_{way} = off")
