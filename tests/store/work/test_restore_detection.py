"""The beacon, and waiting jobs that are in doubt after a restore."""

from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.store.database import Database, Tx
from gateway.store.work import restore_detection, submits
from tests.builders import (
    add_credential,
    add_jobs,
    add_submitted,
    add_tenant,
    claim_jobs,
    credential_of,
    put,
    row_of,
)
from tests.store.blocking import blocked


async def test_the_beacon_counts_up_and_keeps_its_id(tx: Tx) -> None:
    id_, count = await restore_detection.beat(tx)
    assert isinstance(id_, UUID)
    assert await restore_detection.beat(tx) == (id_, count + 1)
    assert await restore_detection.hold_beacon(tx) == (id_, count + 1)
    await restore_detection.set_beacon(tx, 900)
    assert await restore_detection.hold_beacon(tx) == (id_, 900)


async def test_a_claim_reads_the_beacon(tx: Tx) -> None:
    await add_jobs(tx, await add_tenant(tx))
    beacon = await restore_detection.beat(tx)
    (job,) = await claim_jobs(tx)
    assert (job.beacon_id, job.beacon) == beacon


async def test_a_held_beacon_blocks_other_changes(db: Database) -> None:
    async def beat() -> int:
        async with db.begin() as tx:
            return (await restore_detection.beat(tx))[1]

    async with db.begin() as tx:
        _, count = await restore_detection.hold_beacon(tx)
        beating = await blocked(db, beat())
        await restore_detection.set_beacon(tx, count + 10)
    assert await beating == count + 11


async def test_after_a_restore_waiting_jobs_are_in_doubt(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    newest = await add_credential(tx, tenant, 2)
    tried, fresh = await add_jobs(tx, tenant, 2)
    await put(tx, "job", tried, submit_attempts=3, next_at=60, lookups=1, created_at=-90)
    assert await restore_detection.distrust(tx) == 2
    row = await row_of(tx, "job", tried)
    assert (row.state, row.credential_id, row.lease_token) == ("submitting", newest, None)
    assert (row.sent_at, row.next_at, row.lookups) == (row.created_at, row.now, 0)
    assert (row.submit_attempts, row.version) == (3, 2)
    assert (await row_of(tx, "job", fresh)).submit_attempts == 1
    found = await submits.claim_doubtful(tx, 9, lease=30.0, breaker=5, token=uuid7())
    assert {job.id for job in found} == {tried, fresh}


async def test_after_a_restore_other_jobs_are_left_alone(tx: Tx) -> None:
    tenant, bare = await add_tenant(tx), await add_tenant(tx, credential=False)
    (upstream,) = await add_submitted(tx, tenant)
    (sending,) = await add_jobs(tx, tenant)
    await claim_jobs(tx)
    (waiting,) = await add_jobs(tx, bare)
    before = [await row_of(tx, "job", id_) for id_ in (upstream, sending, waiting)]
    assert await restore_detection.distrust(tx) == 0
    assert [await row_of(tx, "job", id_) for id_ in (upstream, sending, waiting)] == before
    assert (await row_of(tx, "job", sending)).credential_id == await credential_of(tx, tenant)


async def test_a_claim_before_the_restore_was_noticed_is_in_doubt_as_well(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    mine, other = await add_jobs(tx, tenant, 2)
    token = uuid7()
    await claim_jobs(tx, token=token)
    await put(tx, "job", other, lease_token=uuid7())
    assert await restore_detection.distrust_claimed(tx, [mine, other], token) == 1
    row = await row_of(tx, "job", mine)
    assert (row.state, row.lease_token, row.strikes) == ("submitting", None, 0)
    assert (row.sent_at, row.next_at, row.lookups) == (row.created_at, row.now, 0)
    assert (await row_of(tx, "job", other)).lease_token is not None
