"""Deploys under load: tables that grow, and rows of newer code. drill_upgrade.py has the migrations."""

import asyncio
from contextlib import suppress

import asyncpg
import pytest

from tests.faults.drills.drill import drill, query, submit_many
from tests.faults.harness.drain import connect
from tests.faults.harness.rig import Rig
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRIES = 5
# What an expanding migration does, by statements that each take their locks anew.
_EXPANSION = (
    "ALTER TABLE job ADD COLUMN novelty text NOT NULL DEFAULT 'x'",
    "ALTER TABLE delivery ADD COLUMN novelty int",
    "ALTER TABLE credential ADD COLUMN novelty int NOT NULL DEFAULT 0",
    "CREATE TABLE novelty (id uuid PRIMARY KEY)",
    "CREATE INDEX CONCURRENTLY job_novelty ON job (novelty)",
    "ALTER TABLE job ALTER COLUMN novelty TYPE varchar(80)",
    "ANALYZE",
)
_UNKNOWN_EVENTS = """
WITH made AS (
  INSERT INTO event (id, tenant_id, job_id, type, body)
  SELECT gen_random_uuid(), tenant_id, id, 'job.invented',
    '{"type":"job.invented","timestamp":"2026-01-01T00:00:00Z","data":{}}'
  FROM job LIMIT 3 RETURNING id, tenant_id, job_id
)
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane)
SELECT gen_random_uuid(), m.tenant_id, m.id, m.job_id, p.id, p.id
FROM made m JOIN endpoint p ON p.tenant_id = m.tenant_id"""
_UNKNOWN_NOTES = """
INSERT INTO job_event (id, tenant_id, job_id, type, detail)
SELECT gen_random_uuid(), tenant_id, id, 'job.reinvented', 'by a newer version' FROM job"""


async def test_35_tables_grow_while_they_are_used(rig: Rig) -> None:
    async with drill(rig, "35 migration under load", links=False) as history:
        world = history.world
        for _ in range(2):
            await world.work()
        load = asyncio.create_task(submit_many(history, 100, 6.0, run=0.3))
        for statement in _EXPANSION:
            await asyncio.sleep(0.5)
            await _apply(world, statement)
        await load


async def test_35_what_newer_code_wrote_is_served(rig: Rig) -> None:
    """Types of events and notes that this version does not know."""
    async with drill(rig, "35 unknown types", links=False) as history:
        world = history.world
        await world.work()
        await submit_many(history, 4)
        await query(world, _UNKNOWN_EVENTS)
        await query(world, _UNKNOWN_NOTES)
        for entry in history.entries:
            for path in (f"job/{entry.job_id}", f"job/{entry.job_id}/event", "job"):
                await world.told("GET", f"/v1/{path}", entry.tenant.key)
            await world.told("GET", f"/v1/delivery?job={entry.job_id}", entry.tenant.key)


async def _apply(world: World, statement: str) -> None:
    """Until it gets its locks: as the migrations do, it does not wait for them for long."""
    connection = await connect(world)
    try:
        await connection.execute("SET lock_timeout = '5s'")
        for _ in range(_TRIES):
            with suppress(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
                await connection.execute(statement)
                return
        pytest.fail(f"never got its locks: {statement}")
    finally:
        await connection.close()
