"""A failing credential: one probe for all verbs, and room for submits that grows again step by step."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.work import circuit_breaker, polls, submits
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
    """Add a failing credential with work for each verb."""
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
async def test_one_claim_takes_the_probe_of_a_credential(
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
async def test_a_claim_does_not_pause_a_healthy_credential(tx: Tx, claim: str) -> None:
    credential = await add_troubled(tx, failures=4)
    assert await CLAIMS[claim](tx)
    assert (await row_of(tx, "credential", credential)).paused_until is None
    for name, other in CLAIMS.items():
        assert (await other(tx) != []) is (name != claim or name == "doubt"), name


@pytest.mark.parametrize("second", CLAIMS)
@pytest.mark.parametrize("first", ["submit", "doubt"])
async def test_one_of_two_claims_at_once_gets_the_probe(
    db: Database, first: str, second: str
) -> None:
    async with db.begin() as tx:
        await add_troubled(tx, failures=5)

    async def reach() -> Sequence[object]:
        async with db.begin() as tx:
            return await CLAIMS[second](tx)

    async with db.begin() as tx:
        assert len(await CLAIMS[first](tx)) == 1
        if second == "poll":  # it skips locked rows
            assert await reach() == []
            return
        reaching = await blocked(db, reach())
    assert await reaching == []


async def test_an_unused_probe_is_given_back(tx: Tx) -> None:
    credential = await add_troubled(tx, failures=5)
    await CLAIMS["poll"](tx)
    await circuit_breaker.unpause(tx, credential)
    assert len(await CLAIMS["submit"](tx)) == 1


# --- Failures -----------------------------------------------------------------------------------


async def test_a_failed_probe_counts_as_a_failure(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    await put(tx, "credential", credential, failures=5, submit_room=3, paused_until=30)
    await circuit_breaker.failed(tx, credential, 8.0, probe=True, room=100)
    row = await row_of(tx, "credential", credential)
    assert (row.failures, row.submit_room) == (6, 1)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 8.0


async def test_each_pause_halves_the_room_down_to_one(tx: Tx) -> None:
    credential = await credential_of(tx, await add_tenant(tx))
    rooms = []
    for _ in range(8):
        await circuit_breaker.failed(tx, credential, 8.0, probe=False, room=100)
        await circuit_breaker.failed(tx, credential, 8.0, probe=False, room=100)
        rooms.append((await row_of(tx, "credential", credential)).submit_room)
        await put(tx, "credential", credential, paused_until=0)
    assert rooms == [50, 25, 12, 6, 3, 1, 1, 1]


# --- Room ---------------------------------------------------------------------------------------


async def test_submits_under_way_take_room(tx: Tx) -> None:
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


async def test_a_room_above_all_other_limits_changes_nothing(tx: Tx) -> None:
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
    await circuit_breaker.well(tx, credential, submits=submits_, room=100)
    assert (await row_of(tx, "credential", credential)).submit_room == wider


async def test_a_room_that_is_large_enough_is_removed(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    credential = await credential_of(tx, tenant)
    await put(tx, "credential", credential, submit_room=100)
    await circuit_breaker.well(tx, credential, submits=1, room=100)
    assert (await row_of(tx, "credential", credential)).submit_room is None
    await add_jobs(tx, tenant)
    assert [job.narrow for job in await claim_jobs(tx)] == [False]


# --- A credential that another has followed -----------------------------------------------------


async def test_a_rejected_credential_that_was_replaced_is_not_paused(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    old = await credential_of(tx, tenant)
    newest = await add_credential(tx, tenant, 2)
    await put(tx, "credential", old, paused_until=60)
    assert await circuit_breaker.reject(tx, old, "revoked", 300.0) == (True, True)
    row = await row_of(tx, "credential", old)
    assert (row.rejected_reason, row.paused_until) == ("revoked", None)
    assert await circuit_breaker.reject(tx, old, "revoked", 300.0) == (False, True)
    assert await circuit_breaker.reject(tx, newest, "no", 300.0) == (True, False)


async def test_jobs_in_doubt_of_a_replaced_credential_are_looked_up_at_once(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    rejected, theirs = await credential_of(tx, tenant), await credential_of(tx, other)
    doubtful = await add_jobs(tx, tenant, 2) + await add_jobs(tx, other)
    await claim_jobs(tx, token=(token := uuid7()))
    await submits.doubt(tx, [Doubt(id_, token, 300.0, 0) for id_ in (doubtful[0], doubtful[2])])
    await circuit_breaker.reject(tx, rejected, "no", 300.0)
    await circuit_breaker.reject(tx, theirs, "no", 300.0)
    await circuit_breaker.reconsider(tx, tenant)
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
    await circuit_breaker.failed(tx, await credential_of(tx, tenant), 60.0, probe=False, room=100)
    await circuit_breaker.reconsider(tx, tenant)
    assert await seconds_until(tx, "job", job_id, "next_at") == 60.0
    credential = await credential_of(tx, tenant)
    assert await seconds_until(tx, "credential", credential, "paused_until") == 60.0
