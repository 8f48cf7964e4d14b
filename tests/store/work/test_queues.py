"""How many rows wait in each queue, and how many are held back for which reason."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store import processes
from gateway.store.database import Tx
from gateway.store.tenancy import tenants
from gateway.store.work import circuit_breaker, polls, queues, settlement, submits
from gateway.store.work.queues import QueueLine
from gateway.store.work.settlement import JobEnd
from gateway.store.work.submits import Doubt
from tests.builders import (
    add_credential,
    add_deliveries,
    add_endpoint,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_deliveries,
    claim_jobs,
    credential_of,
    put,
)

CAP = 10
LEASE = 26.0


async def lines(tx: Tx, queue: str) -> dict[str | None, tuple[int, float]]:
    """Rows and the age of the oldest, by the reason that holds them back; None: they may go."""
    found = await queues.lines(tx, breaker=5, in_flight=CAP, window=2, lease=LEASE)
    return {one.reason: (one.rows, one.seconds) for one in found if one.queue == queue}


async def test_nothing_waits_in_an_empty_database(tx: Tx) -> None:
    assert await queues.lines(tx, breaker=5, in_flight=CAP, window=2, lease=LEASE) == []
    assert set((await queues.states(tx)).values()) == {0}


# --- Jobs to submit -----------------------------------------------------------------------------


async def test_jobs_that_may_go_are_counted_with_the_age_of_the_oldest(tx: Tx) -> None:
    """The oldest job may be behind others of a higher priority."""
    one, other = await add_tenant(tx), await add_tenant(tx)
    (old,) = await add_jobs(tx, one)
    await add_jobs(tx, one, 2, priority=9)
    await add_jobs(tx, other, 3, priority=5)
    await put(tx, "job", old, next_at=-90)
    assert await lines(tx, "accepted") == {None: (6, 90.0)}
    found = await queues.lines(tx, breaker=5, in_flight=CAP, window=2, lease=LEASE)
    assert found == [QueueLine("accepted", None, 6, 90.0, 2)]


async def waiting(tx: Tx) -> UUID:
    """Add a tenant with two jobs that have been due for a long time."""
    tenant = await add_tenant(tx)
    for job_id in await add_jobs(tx, tenant, 2):
        await put(tx, "job", job_id, next_at=-600)
    return tenant


async def test_held_back_jobs_are_counted_by_reason(tx: Tx) -> None:
    suspended, none, revoked, sealed, busy, broken, recovering, later = [
        await waiting(tx) for _ in range(8)
    ]
    await tenants.suspend(tx, suspended, suspended=True)
    await tx.run("DELETE FROM credential WHERE tenant_id = $1", none)
    await circuit_breaker.reject(tx, await credential_of(tx, revoked), "HTTP 401", 300.0)
    await circuit_breaker.rest(tx, await credential_of(tx, sealed), 60.0)
    await circuit_breaker.failed(tx, await credential_of(tx, busy), 20.0, probe=False, room=100)
    await circuit_breaker.failed(tx, await credential_of(tx, broken), 20.0, probe=False, room=100)
    await put(tx, "credential", await credential_of(tx, broken), failures=5)
    await put(tx, "credential", await credential_of(tx, recovering), submit_room=1)
    await tx.run("UPDATE job SET next_at = now() + interval '9 s' WHERE tenant_id = $1", later)
    found = await lines(tx, "accepted")
    assert {reason: rows for reason, (rows, _) in found.items()} == {
        "suspended": 2,
        "no_credential": 2,
        "credential_rejected": 2,
        "credential_sealed": 2,
        "upstream_busy": 4,
        "circuit_open": 2,
        "retry": 2,
    }
    assert found.keys() <= set(queues.REASONS["accepted"])


@pytest.mark.parametrize(
    ("most", "held"), [(1, {"in_flight_cap"}), (2, {None}), (20, {None}), (None, {None})]
)
async def test_a_tenant_at_its_cap_is_held_back(tx: Tx, most: int, held: set[str | None]) -> None:
    tenant = await add_tenant(tx, max_in_flight=most)
    await add_submitted(tx, tenant)
    (job_id,) = await add_jobs(tx, tenant)
    await put(tx, "job", job_id, next_at=-600)
    assert (await lines(tx, "accepted")).keys() == held


async def test_a_tenant_just_below_its_cap_counts_as_at_its_cap(tx: Tx) -> None:
    """It drops below its cap whenever a job ends, until the next one is submitted a moment later."""
    tenant = await waiting(tx)
    await tx.run("UPDATE tenant_load SET in_flight = 9 WHERE tenant_id = $1", tenant)
    assert (await lines(tx, "accepted")).keys() == {"in_flight_cap"}


async def test_an_ended_pause_is_no_reason_and_does_not_add_to_the_age(tx: Tx) -> None:
    tenant = await waiting(tx)
    await put(tx, "credential", await credential_of(tx, tenant), paused_until=-3)
    assert await lines(tx, "accepted") == {None: (2, 3.0)}


async def test_only_the_newest_credential_counts(tx: Tx) -> None:
    tenant = await waiting(tx)
    await circuit_breaker.reject(tx, await credential_of(tx, tenant), "HTTP 401", 300.0)
    await add_credential(tx, tenant, 2)
    assert await lines(tx, "accepted") == {None: (2, 600.0)}


# --- Look-ups, polls, deliveries, bulk ----------------------------------------------------------


async def test_submits_in_doubt(tx: Tx) -> None:
    one, other, token = await add_tenant(tx), await add_tenant(tx), uuid7()
    for tenant in (one, other):
        await add_jobs(tx, tenant)
    jobs = await claim_jobs(tx, token=token)
    assert await lines(tx, "submitting") == {}
    await submits.doubt(tx, [Doubt(job.id, token, -90.0, 0) for job in jobs])
    await circuit_breaker.failed(tx, await credential_of(tx, other), 20.0, probe=False, room=100)
    assert await lines(tx, "submitting") == {None: (1, 90.0), "upstream_busy": (1, 0.0)}


async def test_credentials_to_poll(tx: Tx) -> None:
    due, later, taken, revoked = [await credential_of(tx, await add_tenant(tx)) for _ in range(4)]
    for credential in (due, taken, revoked):
        await put(tx, "credential", credential, poll_at=-30)
    await put(tx, "credential", later, poll_at=30)
    await put(tx, "credential", taken, poll_lease_until=20)
    await circuit_breaker.reject(tx, revoked, "HTTP 401", 300.0)
    found = await lines(tx, "poll")
    assert found[None] == (1, 30.0)
    assert found.keys() == {None, "credential_rejected"}


async def test_deliveries_by_what_holds_them_back(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for options, how in (
        ({}, {}),
        ({}, {"paused_until": 60}),
        ({}, {"failures": 5}),
        ({"rate_limit": 1}, {}),
        ({"concurrency": 1}, {}),
        ({}, {"disabled_at": -1}),
        ({}, {"deleted_at": -1}),
    ):
        endpoint = await add_endpoint(tx, tenant, **options)
        due, later = await add_deliveries(tx, tenant, endpoint, 2)
        await put(tx, "delivery", due, next_at=-600)
        await put(tx, "delivery", later, next_at=3600)
        for column, value in how.items():
            await put(tx, "endpoint", endpoint, **{column: value})
    found = await lines(tx, "deliver")
    assert {reason: rows for reason, (rows, _) in found.items()} == {
        None: 1,
        "resting": 1,
        "failing": 1,
        "limited": 2,
        "retry": 5,
    }
    assert found[None][1] == 600.0
    assert found.keys() - {None} <= set(queues.REASONS["deliver"])


async def test_a_delivery_that_waits_for_its_retry_has_no_age(tx: Tx) -> None:
    (one,) = await add_deliveries(tx, await add_tenant(tx))
    await put(tx, "delivery", one, created_at=-600, next_at=60)
    assert await lines(tx, "deliver") == {"retry": (1, 0.0)}


async def test_deliveries_of_a_lane_with_a_full_window_are_held_back(tx: Tx) -> None:
    tenant, lane = await add_tenant(tx), uuid7()
    await add_deliveries(tx, tenant, count=3, lane=lane)
    await claim_deliveries(tx, 1)
    assert (await lines(tx, "deliver")).keys() == {None, "retry"}
    await claim_deliveries(tx, 1)
    assert (await lines(tx, "deliver")).keys() == {"busy", "retry"}


async def one_of_three_under_way(tx: Tx) -> tuple[UUID, UUID]:
    """A receiver with room in its window to whom one of three webhooks is being sent; one other."""
    lane = uuid7()
    rows = await add_deliveries(tx, await add_tenant(tx), count=3, lane=lane)
    (sent,) = await claim_deliveries(tx, 1)
    await put(tx, "delivery", sent.id, next_at=LEASE)
    return sent.id, next(row for row in rows if row != sent.id)


async def test_a_receiver_that_takes_long_to_answer_is_waited_for(tx: Tx) -> None:
    """Callbacks of jobs have no endpoint that could be failing; their window shrinks in the workers."""
    sent, _ = await one_of_three_under_way(tx)
    assert (await lines(tx, "deliver")).keys() == {None, "retry"}
    await put(tx, "delivery", sent, next_at=LEASE - 4)
    assert await lines(tx, "deliver") == {"busy": (2, 0.0), "retry": (1, 0.0)}


async def test_a_receiver_that_has_just_failed_and_is_tried_again_is_waited_for(tx: Tx) -> None:
    _, other = await one_of_three_under_way(tx)
    await put(tx, "delivery", other, next_at=5, attempts=1)
    assert await lines(tx, "deliver") == {"busy": (1, 0.0), "retry": (2, 0.0)}
    await put(tx, "delivery", other, attempts=0)
    assert (await lines(tx, "deliver")).keys() == {None, "retry"}, "given back, not failed"


async def test_a_receiver_to_whom_nothing_is_sent_is_not_waited_for(tx: Tx) -> None:
    rows = await add_deliveries(tx, await add_tenant(tx), count=2, lane=uuid7())
    await put(tx, "delivery", rows[0], next_at=5, attempts=1)
    await put(tx, "delivery", rows[1], next_at=-90)
    assert (await lines(tx, "deliver"))[None] == (1, 90.0)


async def test_deliveries_of_one_lane_are_counted_up_to_a_limit(
    tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await add_tenant(tx)
    await add_deliveries(tx, tenant, count=1_100, lane=uuid7())
    assert (await lines(tx, "deliver"))[None][0] == queues.MOST // 5


async def test_bulk_operations(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    for seconds, state in ((-40, "running"), (40, "running"), (-90, "done")):
        await tx.run(
            "INSERT INTO bulk (id, tenant_id, kind, filter, state, total, until, next_at) VALUES"
            " ($1, $2, 'retry', '{}', $3, 1, $1, now() + $4 * interval '1 second')",
            *(uuid7(), tenant, state, seconds),
        )
    assert await lines(tx, "bulk") == {None: (1, 40.0)}


# --- States and rounds --------------------------------------------------------------------------


async def test_open_jobs_by_state(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    runs, ends, *_ = await add_submitted(tx, tenant, 4)
    await polls.started(tx, [(runs, None, None)])
    await settlement.finish(tx, [JobEnd(ends, "failed", None, "{}", None, None)])
    await add_jobs(tx, tenant)
    await claim_jobs(tx)
    await add_jobs(tx, tenant, 5)
    states = {"accepted": 5, "submitting": 1, "submitted": 2, "running": 1}
    assert await queues.states(tx) == states


async def test_jobs_beyond_the_counted_ones_are_taken_for_running(
    tx: Tx, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await add_tenant(tx)
    for job_id in await add_submitted(tx, tenant, 3):
        await polls.started(tx, [(job_id, None, None)])
    await add_submitted(tx, tenant, 2)
    monkeypatch.setattr(queues, "MOST", 3)
    assert (await queues.states(tx))["running"] == 3
    await tx.run("UPDATE tenant_load SET in_flight = in_flight + 1000")
    assert (await queues.states(tx)) | {"submitted": 2} == await queues.states(tx)
    assert (await queues.states(tx))["running"] > 1000


async def test_the_times_of_the_last_sweep_and_pruning_are_read(tx: Tx) -> None:
    await tx.run("UPDATE beacon SET swept_at = NULL")
    assert await processes.last_rounds(tx) == (None, None)
    tenant = await add_tenant(tx)
    await put(tx, "tenant", tenant, pruned_at=-60)
    await tx.run("UPDATE beacon SET swept_at = now() - interval '7 s'")
    assert await processes.last_rounds(tx) == (7.0, 60.0)
