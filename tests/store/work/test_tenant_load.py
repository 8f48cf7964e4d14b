"""The counters of waiting and in-flight jobs of a tenant, which triggers keep."""

import random
from contextlib import suppress
from uuid import UUID

from uuid_utils.compat import uuid7

from gateway.errors import BadRequest
from gateway.store.database import Database, Tx
from gateway.store.work import lost_claims, restore_detection, settlement, submits, sweeps
from gateway.store.work.settlement import JobEnd
from gateway.store.work.submits import Back
from tests.builders import add_jobs, add_tenant, claim_jobs

_COUNTED = """
SELECT t.id, count(j.id) FILTER (WHERE j.state = 'accepted'),
  count(j.id) FILTER (WHERE j.state IN ('submitting', 'submitted', 'running'))
FROM tenant t LEFT JOIN job j ON j.tenant_id = t.id GROUP BY t.id"""
_KEPT = """
SELECT t.id, COALESCE(sum(l.waiting), 0)::int, COALESCE(sum(l.in_flight), 0)::int
FROM tenant t LEFT JOIN tenant_load l ON l.tenant_id = t.id GROUP BY t.id"""


async def load_of(tx: Tx, tenant_id: UUID) -> tuple[int, int]:
    """The counters of a tenant, after a check that all counters equal a count of the jobs."""
    kept, counted = [
        {row[0]: (row[1], row[2]) for row in await tx.rows(sql)} for sql in (_KEPT, _COUNTED)
    ]
    assert kept == counted
    return kept[tenant_id]


async def test_each_step_of_a_job_changes_the_counters(tx: Tx) -> None:
    tenant, token = await add_tenant(tx), uuid7()
    await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 5)
    assert await load_of(tx, tenant) == (5, 0)
    await claim_jobs(tx, 4, token=token)
    assert await load_of(tx, tenant) == (1, 4)
    await submits.submitted(tx, [(id_, token, str(id_)) for id_ in ids[:2]])
    assert await load_of(tx, tenant) == (1, 4)
    await submits.back(tx, [Back(ids[2], token, 0.0, counted=True)])
    assert await load_of(tx, tenant) == (2, 3)
    await lost_claims.give_back(tx, "submit", token)
    assert await load_of(tx, tenant) == (3, 2)
    await settlement.finish(tx, [JobEnd(id_, "failed", None, "{}", None, None) for id_ in ids[1:3]])
    assert await load_of(tx, tenant) == (2, 1)
    await restore_detection.distrust(tx)
    assert await load_of(tx, tenant) == (0, 3)
    await tx.run("DELETE FROM job WHERE id = $1", ids[0])
    assert await load_of(tx, tenant) == (0, 2)
    await tx.rows("TRUNCATE job")
    assert await load_of(tx, tenant) == (0, 0)


async def test_the_counters_are_right_after_two_open_transactions(db: Database) -> None:
    chance = random.Random(5)
    async with db.begin() as tx:
        tenants = [await add_tenant(tx) for _ in range(3)]
    for _ in range(60):
        async with db.begin() as one, db.begin() as other:
            for tx in (one, other):
                await add_jobs(tx, chance.choice(tenants), chance.randint(0, 4) or 1)
                token = uuid7()
                claimed = await claim_jobs(tx, chance.randint(1, 5), token=token)
                for job in claimed:
                    step = chance.choice(["stay", "back", "end"])
                    if step == "back":
                        await submits.back(tx, [Back(job.id, token, 0.0, counted=False)])
                    if step == "end":
                        await settlement.finish(
                            tx, [JobEnd(job.id, "failed", None, "{}", None, None, token)]
                        )
    async with db.single() as tx:
        loads = [await load_of(tx, tenant) for tenant in tenants]
    assert all(waiting + in_flight > 0 for waiting, in_flight in loads), (
        "something is left to count"
    )


async def test_a_rolled_back_step_does_not_change_the_counters(db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        await add_jobs(tx, tenant, 2)
    with suppress(BadRequest):
        async with db.begin() as tx:
            await claim_jobs(tx)
            await tx.one("SELECT 1 / 0")
    async with db.single() as tx:
        assert await load_of(tx, tenant) == (2, 0)


async def test_a_tenant_at_its_cap_is_not_late(tx: Tx) -> None:
    tenant = await add_tenant(tx, max_in_flight=1)
    await add_jobs(tx, tenant, 2)
    await tx.run("UPDATE job SET next_at = now() - interval '1 hour'")
    assert (await sweeps.late(tx, 3.0, 1000, 8.0)).accepted == 1
    await claim_jobs(tx, 1)
    assert (await sweeps.late(tx, 3.0, 1000, 8.0)).accepted == 0
