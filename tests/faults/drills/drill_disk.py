"""The disk of Postgres is full: first that of its tables, then that of its log."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import asyncpg
import pytest

from gateway.embedded.part import run_tool
from tests.faults.drills.drill import drill, query, submit_many, until_refused
from tests.faults.harness.rig import TEMPLATE, Rig
from tests.faults.harness.small_disk import FILLER, MEGABYTE, fill, may_mount, small_disk

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not may_mount(), reason="a small file system cannot be mounted here"),
]

_SEGMENTS = 12
_REFUSED_SECONDS = 30
_SEEN_SECONDS = 2


async def test_14_the_disk_of_the_tables_is_full(rig: Rig) -> None:
    with small_disk(rig, "tables", 40) as disk:

        async def make_database(name: str) -> None:
            await rig.postgres.sql(
                f"CREATE TABLESPACE small LOCATION '{disk}'",
                f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" TABLESPACE small',
            )

        async with drill(rig, "14 disk full", links=False, make_database=make_database) as history:
            world = history.world
            await world.work()
            await submit_many(history, 20)
            fill(disk)
            large = {"text": "x" * 4000}
            load = asyncio.create_task(submit_many(history, 100, 2.0, metadata=large))
            await until_refused(history, _REFUSED_SECONDS)
            await asyncio.sleep(_SEEN_SECONDS)
            (disk / FILLER).unlink()
            await load
        await world.end()
        drop = f'DROP DATABASE "{world.name}" WITH (FORCE)'
        await rig.postgres.sql(drop, "DROP TABLESPACE small")


async def test_14_the_disk_of_the_log_is_full(rig: Rig) -> None:
    """Postgres ends itself, and cannot start, until there is room."""
    async with (
        _log_onsmall_disk(rig) as disk,
        drill(rig, "14 disk of the log full", links=False) as history,
    ):
        world = history.world
        await world.work()
        await submit_many(history, 20)
        fill(disk)
        load = asyncio.create_task(submit_many(history, 60, 2.0))
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            for _ in range(_SEGMENTS):
                await query(world, "UPDATE tenant SET name = name")
                await query(world, "SELECT pg_switch_wal()")
        await until_refused(history, _REFUSED_SECONDS)
        await asyncio.sleep(_SEEN_SECONDS)
        (disk / FILLER).unlink()
        await rig.postgres_server.revive()
        await load


@asynccontextmanager
async def _log_onsmall_disk(rig: Rig) -> AsyncGenerator[Path]:
    """Postgres keeps its log on a disk with room for three more segments, for the block's time."""
    log = rig.postgres.part.folder / "pg_wal"
    await rig.postgres_server.stop()
    used = sum(file.stat().st_size for file in log.rglob("*"))
    with small_disk(rig, "log", used // MEGABYTE + 48) as disk:
        await run_tool("cp", "-a", str(log), str(disk / "pg_wal"), env={})
        aside = log.rename(log.with_name("pg_wal.aside"))
        log.symlink_to(disk / "pg_wal")
        await rig.postgres_server.start()
        try:
            yield disk
        finally:
            await rig.postgres_server.stop()
            log.unlink()
            shutil.rmtree(aside)
            await run_tool("cp", "-a", str(disk / "pg_wal"), str(log), env={})
            await rig.postgres_server.start()
