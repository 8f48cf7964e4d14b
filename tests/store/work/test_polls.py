from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import JobState
from gateway.core.schedule.polling import InFlight, Pace
from gateway.store.database import Database, Tx
from gateway.store.work import circuit_breaker, polls, settlement
from gateway.store.work.polls import AtUpstream, JobPosition, ToPoll
from gateway.store.work.settlement import JobEnd
from tests.builders import (
    add_credential,
    add_jobs,
    add_submitted,
    add_tenant,
    credential_of,
    put,
    row_of,
    seconds_until,
    without_indexes,
)
from tests.store.blocking import blocked

AT = datetime(2026, 1, 2, tzinfo=UTC)


async def add_due(tx: Tx, ago: float = 0.0) -> UUID:
    """Add a credential that is due to be polled."""
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, poll_at=-ago)
    return credential


async def release(tx: Tx, credential: UUID, token: UUID, wait: float | None) -> None:
    await polls.release(
        tx,
        credential,
        token,
        wait=wait,
        list_order="newest",
        pace=Pace({"w": 2.0}, {"w": 1.0}),
        is_safe=True,
    )


# --- Credentials --------------------------------------------------------------------------------


async def test_a_claimed_credential_is_leased(tx: Tx) -> None:
    credential, token = await add_due(tx), uuid7()
    (taken,) = await polls.claim(tx, 9, lease=30.0, breaker=5, token=token)
    row = await row_of(tx, "credential", credential)
    assert taken == ToPoll(
        credential,
        row.tenant_id,
        1,
        "https://upstream.example/1",
        b"sealed",
        0,
        False,
        "unknown",
        "{}",
        0,
    )
    assert polls.pace_of(taken.pace) == Pace()
    assert row.poll_token == token
    assert row.poll_at == row.poll_lease_until
    assert await seconds_until(tx, "credential", credential, "poll_at") == 30.0
    assert await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7()) == []


@pytest.mark.parametrize("column", ["poll_at", "poll_lease_until", "paused_until"])
async def test_a_credential_waits_for_each_of_its_times(tx: Tx, column: str) -> None:
    credential = await add_due(tx)
    await put(tx, "credential", credential, **{column: 0.001})
    assert await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7()) == []
    await put(tx, "credential", credential, **{column: 0})
    assert len(await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7())) == 1


async def test_a_credential_without_jobs_is_not_polled(tx: Tx) -> None:
    await add_tenant(tx)
    assert await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7()) == []
    assert await polls.next_due(tx) is None


async def test_the_longest_due_credential_is_polled_first_even_if_rejected(tx: Tx) -> None:
    ids = [await add_due(tx, ago) for ago in (1, 3, 2)]
    await put(tx, "credential", ids[1], failures=7, rejected_at=-1)
    await without_indexes(tx)
    first, second = [
        (await polls.claim(tx, 1, lease=9.0, breaker=5, token=uuid7()))[0] for _ in range(2)
    ]
    assert (first.id, first.failures, first.rejected) == (ids[1], 7, True)
    assert second.id == ids[2]


async def test_two_pollers_never_get_the_same_credential(db: Database) -> None:
    async with db.begin() as tx:
        ids = [await add_due(tx, ago) for ago in range(5)]
    async with db.begin() as one, db.begin() as other:
        first = await polls.claim(one, 3, lease=30.0, breaker=5, token=uuid7())
        second = await polls.claim(other, 9, lease=30.0, breaker=5, token=uuid7())
    assert (len(first), len(second)) == (3, 2)
    assert sorted(c.id for c in [*first, *second]) == sorted(ids)


async def test_when_the_next_credential_is_due(tx: Tx) -> None:
    one, other = await add_due(tx), await add_due(tx)
    assert await polls.next_due(tx) == 0.0
    await put(tx, "credential", one, poll_at=-5, poll_lease_until=20)
    await put(tx, "credential", other, poll_at=-5, paused_until=30)
    assert await polls.next_due(tx) == 20.0
    await put(tx, "credential", one, poll_at=None)
    assert await polls.next_due(tx) == 30.0
    await put(tx, "credential", other, paused_until=-1)
    assert await polls.next_due(tx) == -1.0


async def test_a_poll_is_only_brought_forward(tx: Tx) -> None:
    idle, far, near = [await add_due(tx) for _ in range(3)]
    await put(tx, "credential", idle, poll_at=None)
    await put(tx, "credential", far, poll_at=20)
    await put(tx, "credential", near, poll_at=0.1)
    await polls.poll_soon(tx, [(id_, "w") for id_ in (idle, far, near)], 0.25)
    due = [await seconds_until(tx, "credential", id_, "poll_at") for id_ in (idle, far, near)]
    assert due == [0.25, 0.25, 0.1]
    await polls.poll_soon(tx, [], 0.25)


async def test_a_poll_is_asked_for_when_the_first_of_the_jobs_can_end(tx: Tx) -> None:
    credential = await add_due(tx)
    pace = '{"typical":{"a":2,"b":4,"c":90},"shortest":{"a":2,"b":4,"c":80}}'

    async def due(*workflows: str) -> float:
        await put(tx, "credential", credential, poll_at=None)
        await tx.run("UPDATE credential SET pace = $1", pace)
        await polls.poll_soon(tx, {(credential, workflow) for workflow in workflows}, 0.25)
        return await seconds_until(tx, "credential", credential, "poll_at")

    assert await due("b") == 3.6
    assert await due("a", "b") == 1.8
    assert await due("c") == 5.0, "its start is asked for"
    assert await due("a", "new") == 0.25
    await put(tx, "credential", credential, poll_at=1)
    await polls.poll_soon(tx, [(credential, "b")], 0.25)
    assert await seconds_until(tx, "credential", credential, "poll_at") == 1.0


async def test_a_released_credential_keeps_what_the_poll_learned(tx: Tx) -> None:
    credential, token = await add_due(tx), uuid7()
    await polls.claim(tx, 9, lease=30.0, breaker=5, token=token)
    await release(tx, credential, token, 4.0)
    row = await row_of(tx, "credential", credential)
    assert (row.poll_token, row.poll_lease_until, row.list_order) == (None, None, "newest")
    assert polls.pace_of(row.pace) == Pace({"w": 2.0}, {"w": 1.0})
    assert await seconds_until(tx, "credential", credential, "poll_at") == 4.0


async def test_a_credential_with_nothing_left_is_not_polled_again(tx: Tx) -> None:
    credential, token = await add_due(tx), uuid7()
    await polls.claim(tx, 9, lease=30.0, breaker=5, token=token)
    await release(tx, credential, token, None)
    assert (await row_of(tx, "credential", credential)).poll_at is None


@pytest.mark.parametrize(("wait", "due"), [(None, 0.25), (4.0, 0.25), (0.1, 0.1)])
async def test_a_poll_asked_for_during_a_poll_is_kept(
    tx: Tx, wait: float | None, due: float
) -> None:
    credential, token = await add_due(tx), uuid7()
    await polls.claim(tx, 9, lease=30.0, breaker=5, token=token)
    await polls.poll_soon(tx, [(credential, "new")], 0.25)
    assert await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7()) == []
    await release(tx, credential, token, wait)
    assert await seconds_until(tx, "credential", credential, "poll_at") == due


async def test_a_poll_asked_for_at_the_end_of_a_lease_is_kept(tx: Tx) -> None:
    credential, token = await add_due(tx), uuid7()
    await polls.claim(tx, 9, lease=0.1, breaker=5, token=token)
    await polls.poll_soon(tx, [(credential, "new")], 0.25)
    await polls.poll_soon(tx, [(credential, "new")], 0.3)
    await release(tx, credential, token, None)
    assert await seconds_until(tx, "credential", credential, "poll_at") == 0.25


async def test_a_poll_asked_for_during_a_release_is_kept(db: Database) -> None:
    token = uuid7()
    async with db.begin() as tx:
        credential = await add_due(tx)
        await polls.claim(tx, 9, lease=30.0, breaker=5, token=token)

    async def give_back() -> None:
        async with db.begin() as tx:
            await release(tx, credential, token, None)

    async def ask() -> None:
        async with db.begin() as tx:
            await polls.poll_soon(tx, [(credential, "new")], 0.25)

    async with db.begin() as tx:
        await polls.poll_soon(tx, [(credential, "new")], 0.25)
        releasing = await blocked(db, give_back())
    await releasing
    async with db.begin() as tx:
        assert await seconds_until(tx, "credential", credential, "poll_at") <= 0.25
        await put(tx, "credential", credential, poll_at=30, poll_lease_until=30, poll_token=token)
        await tx.run("UPDATE credential SET poll_at = poll_lease_until")
    async with db.begin() as tx:
        await release(tx, credential, token, None)
        asking = await blocked(db, ask())
    await asking
    async with db.begin() as tx:
        assert await seconds_until(tx, "credential", credential, "poll_at") <= 0.25


async def test_a_poller_that_lost_its_lease_changes_nothing(tx: Tx) -> None:
    credential = await add_due(tx)
    await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7())
    before = await row_of(tx, "credential", credential)
    await release(tx, credential, uuid7(), 4.0)
    assert await row_of(tx, "credential", credential) == before


async def test_processes_that_ask_for_the_same_polls_do_not_deadlock(db: Database) -> None:
    async with db.begin() as tx:
        ids = sorted([await add_due(tx) for _ in range(2)])
        for id_ in ids:
            await put(tx, "credential", id_, poll_at=None)

    async def ask() -> None:
        async with db.begin() as tx:
            await polls.poll_soon(tx, [(id_, "new") for id_ in ids[::-1]], 0.25)

    async with db.begin() as tx:
        await circuit_breaker.failed(tx, ids[0], 1.0, probe=False, room=100)
        asking = await blocked(db, ask())
        # It waits for the first row and holds no other.
        await circuit_breaker.failed(tx, ids[1], 1.0, probe=False, room=100)
    await asking
    async with db.begin() as tx:
        assert all([(await row_of(tx, "credential", id_)).poll_at for id_ in ids]), (
            "both were asked for"
        )


# --- Health -------------------------------------------------------------------------------------


async def test_failures_during_a_pause_count_once_and_never_shorten_it(tx: Tx) -> None:
    credential = await add_due(tx)
    await circuit_breaker.failed(tx, credential, 60.0, probe=False, room=100)
    await circuit_breaker.failed(tx, credential, 5.0, probe=False, room=100)
    row = await row_of(tx, "credential", credential)
    assert (row.failures, row.submit_room) == (1, 50)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 60.0
    await circuit_breaker.failed(tx, credential, 90.0, probe=False, room=100)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 90.0
    assert (await row_of(tx, "credential", credential)).failures == 1
    await put(tx, "credential", credential, paused_until=0)
    await circuit_breaker.failed(tx, credential, 5.0, probe=False, room=100)
    row = await row_of(tx, "credential", credential)
    assert (row.failures, row.submit_room) == (2, 25)


async def test_an_answer_clears_failures_and_pause(tx: Tx) -> None:
    failing, rejected = await add_due(tx), await add_due(tx)
    await circuit_breaker.failed(tx, failing, 60.0, probe=False, room=100)
    await circuit_breaker.reject(tx, rejected, "no", 300.0)
    for credential in (failing, rejected):
        await circuit_breaker.well(tx, credential, submits=0, room=100)
        row = await row_of(tx, "credential", credential)
        assert (row.failures, row.paused_until) == (0, None)
        assert (row.rejected_at, row.rejected_reason) == (None, None)


async def test_a_rejection_is_reported_once(tx: Tx) -> None:
    credential = await add_due(tx)
    assert await circuit_breaker.reject(tx, credential, "first", 300.0) == (True, False)
    row = await row_of(tx, "credential", credential)
    assert (row.rejected_at, row.rejected_reason) == (row.now, "first")
    assert await seconds_until(tx, "credential", credential, "paused_until") == 300.0
    assert await circuit_breaker.reject(tx, credential, "second", 10.0) == (False, False)
    assert (await row_of(tx, "credential", credential)).rejected_reason == "second"
    assert await circuit_breaker.reject(tx, uuid7(), "no such", 1.0) == (False, False)


async def test_one_of_two_rejections_at_once_is_reported(db: Database) -> None:
    async with db.begin() as tx:
        credential = await add_due(tx)

    async def reject() -> tuple[bool, bool]:
        async with db.begin() as tx:
            return await circuit_breaker.reject(tx, credential, "no", 300.0)

    async with db.begin() as tx:
        assert await circuit_breaker.reject(tx, credential, "no", 300.0) == (True, False)
        second = await blocked(db, reject())
    assert await second == (False, False)


# --- Jobs at the upstream -----------------------------------------------------------------------


async def test_jobs_in_flight_are_grouped_by_workflow(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    slow = await add_submitted(tx, tenant, 3, workflow="slow")
    (fast,) = await add_submitted(tx, tenant, workflow="fast")
    (ended,) = await add_submitted(tx, tenant, workflow="fast")
    await add_submitted(tx, other, 2)
    await add_jobs(tx, tenant, workflow="fast")
    for age, job_id in zip((5, 30, 10), slow, strict=True):
        await put(tx, "job", job_id, submitted_at=-age)
    await polls.started(tx, [(fast, None, None)])
    await settlement.finish(tx, [JobEnd(ended, "failed", None, "{}", None, None)])
    flight = await polls.in_flight(tx, credential, tenant, Pace(), 9)
    assert flight.groups == [
        InFlight("fast", 0.0, 0.0, 0.0, unstarted=False),
        InFlight("slow", 5.0, 30.0, 5.0, unstarted=True),
    ]
    assert (flight.few, flight.jobs) == (4, 4)
    pace = Pace({"slow": 20.0}, {"slow": 10.0}, {"slow": 20.0})
    flight = await polls.in_flight(tx, credential, tenant, pace, 3)
    assert flight.groups[1] == InFlight("slow", 5.0, 30.0, 10.0, unstarted=True)
    assert (flight.few, flight.jobs) == (3, 4), "the tenant's, where they are many"
    pace = Pace({"slow": 2.0}, {"slow": 2.0}, {"slow": 2.0})
    flight = await polls.in_flight(tx, credential, tenant, pace, 3)
    assert flight.groups[1].expected is None, "all of them are overdue"
    assert await polls.in_flight(tx, uuid7(), tenant, Pace(), 9) == ([], 0, 0)


async def test_jobs_at_the_upstream_are_paged_in_order(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    ids = [
        (await add_submitted(tx, tenant, workflow=workflow))[0] for workflow in ("b", "a", "a", "a")
    ]
    for age, job_id in zip((40, 10, 20, 20), ids, strict=True):
        await put(tx, "job", job_id, submitted_at=-age)
    await put(tx, "job", ids[2], next_at=0.001)
    found = await polls.walk(tx, credential, JobPosition(), 9)
    twins = sorted(ids[2:])
    assert [job.id for job in found] == [*twins, ids[1], ids[0]]
    row = await row_of(tx, "job", ids[0])
    assert found[3] == AtUpstream(
        ids[0], f"up-{ids[0]}", "b", "submitted", 0, 40.0, True, row.submitted_at
    )
    assert {job.id for job in found if not job.due} == {ids[2]}
    for number, job in enumerate(found):
        rest = await polls.walk(tx, credential, job.place, 9)
        assert [one.id for one in rest] == [one.id for one in found[number + 1 :]]
    assert len(await polls.walk(tx, credential, JobPosition(), 2)) == 2
    assert await polls.walk(tx, uuid7(), JobPosition(), 9) == []


async def test_jobs_of_a_workflow_are_overdue_from_an_age_on(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    ids = await add_submitted(tx, tenant, 3, workflow="a")
    (other,) = await add_submitted(tx, tenant, workflow="b")
    for age, job_id in zip((30, 10, 20, 90), [*ids, other], strict=True):
        await put(tx, "job", job_id, submitted_at=-age)
    found = await polls.overdue(tx, credential, JobPosition("a"), 20.0, 9)
    assert [job.id for job in found] == [ids[0], ids[2]]
    (second,) = await polls.overdue(tx, credential, found[0].place, 20.0, 9)
    assert second.id == ids[2]
    assert len(await polls.overdue(tx, credential, JobPosition("a"), 0.0, 1)) == 1
    assert await polls.overdue(tx, uuid7(), JobPosition("a"), 0.0, 9) == []


async def test_only_open_jobs_of_the_credential_match(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    old = await credential_of(tx, tenant)
    one, ended, unasked = await add_submitted(tx, tenant, 3)
    newer = await add_credential(tx, tenant, 2)
    (other,) = await add_submitted(tx, tenant)
    await settlement.finish(tx, [JobEnd(ended, "failed", None, "{}", None, None)])
    await polls.started(tx, [(one, None, None)])
    asked = [f"up-{id_}" for id_ in (one, ended, other, uuid7())]
    row = await row_of(tx, "job", one)
    assert await polls.match(tx, old, asked) == [
        AtUpstream(one, f"up-{one}", "flow", "running", 0, 0.0, True, row.submitted_at)
    ]
    assert [job.id for job in await polls.match(tx, newer, asked)] == [other]
    assert {job.id for job in await polls.walk(tx, old, JobPosition(), 9)} == {one, unasked}


async def test_a_status_call_can_be_postponed(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    one, other, ended = await add_submitted(tx, tenant, 3)
    await settlement.finish(tx, [JobEnd(ended, "failed", None, "{}", None, None)])
    before = await row_of(tx, "job", ended)
    await polls.ask_later(tx, [(one, 5.0, 2), (other, 60.0, 0), (ended, 5.0, 3)])
    assert await seconds_until(tx, "job", one, "next_at") == 5.0
    assert (await row_of(tx, "job", one)).absences == 2
    assert await seconds_until(tx, "job", other, "next_at") == 60.0
    assert await row_of(tx, "job", ended) == before
    found = await polls.walk(tx, await credential_of(tx, tenant), JobPosition(), 9)
    assert [job.due for job in found] == [False, False]


async def test_a_start_is_reported_once(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    one, other, ended = await add_submitted(tx, tenant, 3)
    (waiting,) = await add_jobs(tx, tenant)
    await settlement.finish(tx, [JobEnd(ended, "failed", None, "{}", None, None)])
    await put(tx, "job", one, created_at=AT)
    told = [(one, AT, None), (other, None, None), (ended, AT, None), (waiting, AT, None)]
    news = {job.id: job for job in await polls.started(tx, told)}
    assert news.keys() == {one, other}
    assert (news[one].state, news[one].started_at, news[one].version) == (JobState.RUNNING, AT, 4)
    assert news[other].started_at == (await row_of(tx, "job", other)).now
    assert await polls.started(tx, told) == []


async def test_a_start_time_of_a_wrong_clock_is_corrected(tx: Tx) -> None:
    (job_id,) = await add_submitted(tx, await add_tenant(tx))
    await put(tx, "job", job_id, created_at=-600, sent_at=-590, submitted_at=-580)
    now = (await row_of(tx, "job", job_id)).now
    made, began = now + timedelta(hours=2, seconds=-585), now + timedelta(hours=2, seconds=-500)
    (job,) = await polls.started(tx, [(job_id, began, made)])
    assert job.started_at is not None
    assert 495 <= (now - job.started_at).total_seconds() <= 505


def test_missing_parts_of_a_pace_are_empty() -> None:
    assert polls.pace_of("{}") == Pace()
    assert polls.pace_of('{"typical":{"w":2.5},"shortest":{"w":1}}') == Pace({"w": 2.5}, {"w": 1})
