"""The disk of Postgres is full: first that of its tables, then that of its log."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import asyncpg
import pytest

from gateway.embedded.part import run_tool
from tests.faults.drills.drill import drill, query, submit_many, until_refused
from tests.faults.harness.rig import TEMPLATE, Rig


def _may_mount() -> bool:
    """Only root may, and in a container often not even root."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not _may_mount(), reason="a small file system cannot be mounted here"),
]

_MEGABYTE = 1024 * 1024
_FILLER = "filler"
_SEGMENTS = 12
_REFUSED_SECONDS = 30
_SEEN_SECONDS = 2


async def test_14_the_disk_of_the_tables_is_full(rig: Rig) -> None:
    with _small_disk(rig, "tables", 40) as disk:

        async def make_database(name: str) -> None:
            await rig.postgres.sql(
                f"CREATE TABLESPACE small LOCATION '{disk}'",
                f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}" TABLESPACE small',
            )

        async with drill(rig, "14 disk full", links=False, make_database=make_database) as history:
            world = history.world
            await world.work()
            await submit_many(history, 20)
            _fill(disk)
            large = {"text": "x" * 4000}
            load = asyncio.create_task(submit_many(history, 100, 2.0, metadata=large))
            await until_refused(history, _REFUSED_SECONDS)
            await asyncio.sleep(_SEEN_SECONDS)
            (disk / _FILLER).unlink()
            await load
        await world.end()
        drop = f'DROP DATABASE "{world.name}" WITH (FORCE)'
        await rig.postgres.sql(drop, "DROP TABLESPACE small")


async def test_14_the_disk_of_the_log_is_full(rig: Rig) -> None:
    """Postgres ends itself, and cannot start, until there is room."""
    async with (
        _log_on_small_disk(rig) as disk,
        drill(rig, "14 disk of the log full", links=False) as history,
    ):
        world = history.world
        await world.work()
        await submit_many(history, 20)
        _fill(disk)
        load = asyncio.create_task(submit_many(history, 60, 2.0))
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            for _ in range(_SEGMENTS):
                await query(world, "UPDATE tenant SET name = name")
                await query(world, "SELECT pg_switch_wal()")
        await until_refused(history, _REFUSED_SECONDS)
        await asyncio.sleep(_SEEN_SECONDS)
        (disk / _FILLER).unlink()
        await rig.postgres_server.revive()
        await load


def _fill(disk: Path) -> None:
    full = pytest.raises(OSError, match="No space left")
    with (disk / _FILLER).open("wb", buffering=0) as filler, full:
        _write_for_ever(filler)


def _write_for_ever(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(_MEGABYTE // 16))


@contextmanager
def _small_disk(rig: Rig, name: str, megabytes: int) -> Generator[Path]:
    """A file system of its own that belongs to the account of Postgres."""
    disk, account = rig.folder / name, rig.postgres.part.account
    assert account is not None
    disk.mkdir()
    options = f"size={megabytes}m,mode=700,uid={account.uid},gid={account.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@asynccontextmanager
async def _log_on_small_disk(rig: Rig) -> AsyncGenerator[Path]:
    """Postgres keeps its log on a disk with room for three more segments, for the block's time."""
    log = rig.postgres.part.folder / "pg_wal"
    await rig.postgres_server.stop()
    used = sum(file.stat().st_size for file in log.rglob("*"))
    with _small_disk(rig, "log", used // _MEGABYTE + 48) as disk:
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
