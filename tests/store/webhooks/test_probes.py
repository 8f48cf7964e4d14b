"""A credential in trouble: one probe for everybody, and room that comes back bit by bit."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.work import credential_health, polls, submits
from gateway.store.work.submits import Doubt
from tests.builders import (
    add_credential,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    credential_of,
    put,
    row_of,
    seconds_until,
)
from tests.store.blocking import blocked

Claim = Callable[[Tx], Awaitable[Sequence[object]]]
CLAIMS: dict[str, Claim] = {
    "submit": lambda tx: claim_jobs(tx, lease=30.0),
    "doubt": lambda tx: submits.claim_doubtful(tx, 1, lease=30.0, breaker=5, token=uuid7()),
    "poll": lambda tx: polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid7()),
}


async def add_troubled(tx: Tx, **trouble: object) -> UUID:
    """A credential in trouble that every verb has work for."""
    tenant = await add_tenant(tx)
    await add_submitted(tx, tenant)
    for job_id in await add_jobs(tx, tenant, 2):
        await put(tx, "job", job_id, priority=1)
    token = uuid7()
    claimed = await claim_jobs(tx, token=token)
    await submits.doubt(tx, [Doubt(job.id, token, 0.0, 0) for job in claimed])
    await add_jobs(tx, tenant, 3)
    credential = await credential_of(tx, tenant)
    await put(tx, "credential", credential, poll_at=0, **trouble)
    return credential


@pytest.mark.parametrize("trouble", [{"failures": 5}, {"rejected_at": -400}], ids=str)
@pytest.mark.parametrize("first", CLAIMS)
async def test_whoever_takes_the_probe_takes_it_for_all(
    tx: Tx, first: str, trouble: dict[str, object]
) -> None:
    credential = await add_troubled(tx, **trouble, paused_until=0)
    assert len(await CLAIMS[first](tx)) == 1
    assert await seconds_until(tx, "credential", credential, "paused_until") == 30.0
    for claim in CLAIMS.values():
        assert await claim(tx) == []
    await put(tx, "credential", credential, paused_until=0, poll_lease_until=None, poll_at=0)
    assert len(await CLAIMS["doubt"](tx)) == 1, "it rested, so it is tried once more"
    assert [len(await claim(tx)) for claim in CLAIMS.values()] == [0, 0, 0]


@pytest.mark.parametrize("claim", CLAIMS)
async def test_a_credential_that_is_well_is_paused_by_no_claim(tx: Tx, claim: str) -> None:
    credential = await add_troubled(tx, failures=4)
    assert await CLAIMS[claim](tx)
    assert (await row_of(tx, "credential", credential)).paused_until is None
    for name, other in CLAIMS.items():
        assert (await other(tx) != []) is (name != claim or name == "doubt"), name


@pytest.mark.parametrize("second", CLAIMS)
@pytest.mark.parametrize("first", ["submit", "doubt"])
async def test_of_two_that_reach_for_the_probe_at_once_one_gets_it(
    db: Database, first: str, second: str
) -> None:
    async with db.begin() as tx:
        await add_troubled(tx, failures=5)

    async def reach() -> Sequence[object]:
        async with db.begin() as tx:
            return await CLAIMS[second](tx)

    async with db.begin() as tx:
        assert len(await CLAIMS[first](tx)) == 1
        if second == "poll":  # it passes over what somebody holds
            assert await reach() == []
            return
        reaching = await blocked(db, reach())
    assert await reaching == []


async def test_a_probe_that_was_not_used_is_given_back(tx: Tx) -> None:
    credential = await add_troubled(tx, failures=5)
    await CLAIMS["poll"](tx)
    await credential_health.unpause(tx, credential)
    assert len(await CLAIMS["submit"](tx)) == 1


# --- Failures -----------------------------------------------------------------------------------


async def test_a_probe_that_fails_counts_though_it_paused_its_credential(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, failures=5, submit_room=3, paused_until=30)
    await credential_health.failed(tx, credential, 8.0, probe=True, room=100)
    row = await row_of(tx, "credential", credential)
    assert (row.failures, row.submit_room) == (6, 1)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 8.0


async def test_each_rest_halves_the_room_down_to_one(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    rooms = []
    for _ in range(8):
        await credential_health.failed(tx, credential, 8.0, probe=False, room=100)
        await credential_health.failed(tx, credential, 8.0, probe=False, room=100)
        rooms.append((await row_of(tx, "credential", credential)).submit_room)
        await put(tx, "credential", credential, paused_until=0)
    assert rooms == [50, 25, 12, 6, 3, 1, 1, 1]


# --- Room ---------------------------------------------------------------------------------------


async def test_a_narrow_room_holds_what_is_on_its_way(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    await add_jobs(tx, tenant, 9)
    await put(tx, "credential", credential, submit_room=3)
    claimed = await claim_jobs(tx, token=(token := uuid7()))
    assert [job.narrow for job in claimed] == [True] * 3
    assert await claim_jobs(tx) == []
    await submits.submitted(tx, [(claimed[0].id, token, "up")])
    await submits.doubt(tx, [Doubt(claimed[1].id, token, 60.0, 0)])
    assert len(await claim_jobs(tx)) == 2, "what is in doubt is not on its way"
    assert await claim_jobs(tx) == []


async def test_a_room_wider_than_all_other_limits_changes_nothing(tx: Tx) -> None:
    tenant = await add_tenant(tx, max_in_flight=4)
    await add_jobs(tx, tenant, 9)
    await put(tx, "credential", await credential_of(tx, tenant), submit_room=50)
    assert len(await claim_jobs(tx, 3)) == 3
    assert len(await claim_jobs(tx, 3)) == 1


@pytest.mark.parametrize(
    ("room", "submits_", "wider"),
    [(1, 1, 5), (8, 8, 12), (8, 4, 10), (50, 1, 51), (8, 0, 8), (97, 97, 101), (None, 9, None)],
)
async def test_a_room_grows_by_four_with_each_round_that_it_admits(
    tx: Tx, room: int | None, submits_: int, wider: int | None
) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, submit_room=room)
    await credential_health.well(tx, credential, submits=submits_, room=100)
    assert (await row_of(tx, "credential", credential)).submit_room == wider


async def test_a_room_that_is_wide_enough_is_no_limit_any_more(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    await put(tx, "credential", credential, submit_room=100)
    await credential_health.well(tx, credential, submits=1, room=100)
    assert (await row_of(tx, "credential", credential)).submit_room is None
    await add_jobs(tx, tenant)
    assert [job.narrow for job in await claim_jobs(tx)] == [False]


# --- A credential that another has followed -----------------------------------------------------


async def test_a_rejected_credential_that_was_replaced_does_not_rest(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    old = await credential_of(tx, tenant)
    newest = await add_credential(tx, tenant, 2)
    await put(tx, "credential", old, paused_until=60)
    assert await credential_health.reject(tx, old, "revoked", 300.0) == (True, True)
    row = await row_of(tx, "credential", old)
    assert (row.rejected_reason, row.paused_until) == ("revoked", None)
    assert await credential_health.reject(tx, old, "revoked", 300.0) == (False, True)
    assert await credential_health.reject(tx, newest, "no", 300.0) == (True, False)


async def test_what_a_rejected_credential_left_open_is_asked_about_at_once(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    rejected, theirs = await credential_of(tx, tenant), await credential_of(tx, other)
    doubtful = await add_jobs(tx, tenant, 2) + await add_jobs(tx, other)
    await claim_jobs(tx, token=(token := uuid7()))
    await submits.doubt(tx, [Doubt(id_, token, 300.0, 0) for id_ in (doubtful[0], doubtful[2])])
    await credential_health.reject(tx, rejected, "no", 300.0)
    await credential_health.reject(tx, theirs, "no", 300.0)
    await credential_health.reconsider(tx, tenant)
    assert (await row_of(tx, "credential", rejected)).paused_until is None
    assert await seconds_until(tx, "job", doubtful[0], "next_at") == 0
    assert await seconds_until(tx, "job", doubtful[1], "next_at") == 30.0, "somebody is at it"
    assert await seconds_until(tx, "job", doubtful[2], "next_at") == 300.0
    assert await seconds_until(tx, "credential", theirs, "paused_until") == 300.0


async def test_a_credential_that_was_not_rejected_is_not_reconsidered(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    (job_id,) = await add_jobs(tx, tenant)
    await claim_jobs(tx, token=(token := uuid7()))
    await submits.doubt(tx, [Doubt(job_id, token, 60.0, 0)])
    await credential_health.failed(tx, await credential_of(tx, tenant), 60.0, probe=False, room=100)
    await credential_health.reconsider(tx, tenant)
    assert await seconds_until(tx, "job", job_id, "next_at") == 60.0
    credential = await credential_of(tx, tenant)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 60.0
