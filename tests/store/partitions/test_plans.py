"""What the planner makes of partitions: look-ups by id read one, and claims stay flat."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway.core.months import PartitionMonth
from gateway.store.database import Database, Tx, open_database
from gateway.store.statement import Query, Statement
from gateway.store.work import jobs, submits
from tests.builders import add_jobs, add_tenant, id_at
from tests.partitioned import month_before, partition_jobs

MONTHS = 24
JOBS, SUBMITS = vars(jobs), vars(submits)
NEXT = month_before(0).next
_FILL = """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, completed_at, created_at)
SELECT overlay(gen_random_uuid()::text PLACING substr($1::uuid::text, 1, 13) FROM 1 FOR 13)::uuid, $2,
  'succeeded', 'n', 'w', '{}', '{}', now(), now(), now() FROM generate_series(1, 200)"""


@pytest.fixture(scope="module")
def many_url(database_url: str) -> str:
    """A database with 24 partitions and some jobs in each."""

    async def make() -> None:
        await partition_jobs(database_url, MONTHS)
        db = open_database(database_url, pool=1, name="tests")
        async with db.begin() as tx:
            tenant = await add_tenant(tx)
            month = month_before(1)
            for _ in range(MONTHS - 2):
                await tx.run(_FILL, month.first, tenant)
                month = month.next
            await add_jobs(tx, tenant, 300)
        async with db.single() as tx:
            await tx.rows("ANALYZE job")
        await db.close()

    asyncio.run(make())
    return database_url


@pytest_asyncio.fixture
async def tx(many_url: str) -> AsyncIterator[Tx]:
    db: Database = open_database(many_url, pool=1, name="tests")
    try:
        async with db.begin() as tx:
            # The tables are small enough to be read whole, which large ones never are.
            for way in ("seqscan", "hashjoin", "mergejoin"):
                await tx.prepare(f"SET LOCAL enable_{way} = off")
            yield tx
    finally:
        await db.close()


def nodes(plan: Any) -> list[Any]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


async def explain(tx: Tx, declared: Any, **values: Any) -> list[Any]:
    statement: Statement = declared.statement if isinstance(declared, Query) else declared
    await tx.rows("SAVEPOINT explained")
    sql = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.sql}"
    row = await tx.one(sql, *statement.arguments(values))
    await tx.rows("ROLLBACK TO explained")
    return nodes(json.loads(row[0])[0]["Plan"])


def partitions(found: list[Any]) -> set[str]:
    """The partitions of `job` that the plan has read."""
    return {
        node["Relation Name"]
        for node in found
        if node.get("Relation Name", "").startswith("job_") and node["Actual Loops"] > 0
    } - {"job_key"}


async def one_of(tx: Tx, month: PartitionMonth) -> tuple[UUID, UUID]:
    row = await tx.one(
        "SELECT id, tenant_id FROM job WHERE id >= $1 AND id < $2 LIMIT 1",
        month.first,
        month.next.first,
    )
    return row.id, row.tenant_id


async def test_there_are_that_many(tx: Tx) -> None:
    row = await tx.one("SELECT count(*) FROM pg_inherits WHERE inhparent = 'job'::regclass")
    assert row[0] == MONTHS


async def test_a_look_up_by_id_reads_one_partition(tx: Tx) -> None:
    month = NEXT.next
    job, tenant = await one_of(tx, month)
    for found in (
        await explain(tx, JOBS["_ONE"], tenant_id=tenant, job_id=job),
        await explain(tx, JOBS["_OWNER"], job_id=job),
        await explain(tx, JOBS["_ALL"], job_ids=[job]),
        await explain(tx, JOBS["_VERSIONS"], job_ids=[job]),
    ):
        assert partitions(found) == {f"job_{month.name}"}


async def test_what_is_written_of_a_job_reads_one_partition(tx: Tx) -> None:
    job, _ = await one_of(tx, NEXT)
    found = await explain(
        tx, SUBMITS["_SUBMITTED"], ids=[job], tokens=[uuid7()], upstream_ids=["up"]
    )
    assert partitions(found) == {f"job_{NEXT.name}"}


async def test_a_claim_reads_no_more_with_more_jobs(tx: Tx) -> None:
    """It probes an index of each partition, whatever the partitions hold."""

    async def pages() -> int:
        found = await explain(
            tx,
            submits.CLAIM,
            limit=20,
            in_flight=10**6,
            lease=26.0,
            breaker=5,
            suspicious=2,
            token=uuid7(),
            suspects=False,
        )
        assert not [
            node
            for node in found
            if node["Node Type"] == "Seq Scan" and node.get("Relation Name", "").startswith("job_")
        ]
        return found[0]["Shared Hit Blocks"] + found[0]["Shared Read Blocks"]

    few = await pages()
    month = NEXT
    tenant = (await tx.one("SELECT tenant_id FROM job LIMIT 1")).tenant_id
    for _ in range(10):
        await tx.run(_FILL, month.first, tenant)
        month = month.next
    many = await pages()
    assert many <= few * 1.2


async def test_jobs_of_all_months_are_claimed_oldest_first(tx: Tx) -> None:
    await tx.run(
        "UPDATE job SET state = 'succeeded', completed_at = now() WHERE state = 'accepted'"
    )
    tenant = (await tx.one("SELECT tenant_id FROM job LIMIT 1")).tenant_id
    made: list[UUID] = []
    for days in (0, 40, 80, 120):
        made += await add_jobs(tx, tenant, id=id_at(NEXT.begins + timedelta(days=days)))
    claimed = await submits.claim(
        tx, 3, in_flight=1000, lease=30.0, breaker=5, suspicious=2, token=uuid7()
    )
    assert {job.id for job in claimed} == set(made[:3])
