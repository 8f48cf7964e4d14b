"""Deploys under load: old and new code side by side, and a migration beneath both."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import asyncpg
import pytest

from gateway.embedded import create_database
from gateway.store.migration.migrate import newest_revision
from tests.bench.harness.parts import ROOT
from tests.faults.drills.drill import drill, query, submit_many
from tests.faults.harness.drain import connect
from tests.faults.harness.fork_server import ForkServer, start_fork_server
from tests.faults.harness.rig import Rig, make_template, run_command
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TRIES = 5
_OLD_TEMPLATE = "faults_old"
_VERSIONS = "migrations/versions"
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


async def test_35_old_code_goes_on_while_new_code_takes_over(rig: Rig) -> None:
    async with _old(rig) as old:

        async def make_database(name: str) -> None:
            await create_database(rig.postgres, name, _OLD_TEMPLATE)

        async with drill(
            rig, "35 old and new", links=False, fork_server=old, make_database=make_database
        ) as history:
            world = history.world
            elder, api = await world.work(), world.api
            load = asyncio.create_task(submit_many(history, 160, 12.0, run=0.5))
            await asyncio.sleep(2)
            world.fork_server = rig.fork_server
            await run_command(rig, world.env, "db", "upgrade")
            await asyncio.sleep(2)  # the old code alone, on the new schema
            younger = await world.work()
            await world.move()
            await asyncio.sleep(2)
            assert api is not None
            assert (await elder.stop(), await api.stop()) == (0, 0)
            await load
            assert younger.alive
        assert history.calls["failed"] + history.calls["unknown"] <= len(world.tenants)


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


@asynccontextmanager
async def _old(rig: Rig) -> AsyncGenerator[ForkServer]:
    """A fork server with the code before the newest migration, and a database for it."""
    commit = _before_newest_migration()
    if commit is None:
        pytest.skip("the history of the code is not here: a full clone has it")
    tree = rig.folder / "old"
    tree.mkdir()
    packed = rig.folder / "old.zip"
    _git("archive", f"--output={packed}", commit, "gateway", "migrations")
    shutil.unpack_archive(packed, tree)
    async with start_fork_server(tree) as fork_server:
        usual = rig.operator_key
        rig.operator_key = await make_template(rig, _OLD_TEMPLATE, fork_server)
        try:
            yield fork_server
        finally:
            rig.operator_key = usual


def _before_newest_migration() -> str | None:
    """The last commit without the newest migration."""
    (newest,) = (ROOT / _VERSIONS).glob(f"{newest_revision()}_*.py")
    try:
        added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_VERSIONS}/{newest.name}")
        return _git("rev-parse", "--verify", f"{added}~" if added else "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


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
