"""The embedded Postgres in the states that an earlier run may have left it in."""

import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from gateway.embedded import (
    FolderInUseError,
    PartFailedError,
    create_database,
    drop_database,
    start_postgres,
)
from gateway.embedded.account import server_account
from gateway.embedded.part import end_leftovers, spawn, wait_ready
from gateway.embedded.postgres import Postgres, prepare_postgres
from tests.embedded.conftest import Keep

_DATABASES = "SELECT datname FROM pg_database WHERE datname LIKE 'shop%' ORDER BY 1"


@pytest.fixture
def other_process() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the account that Postgres runs as, and nothing to do with it."""
    account = server_account(Path("/nowhere"))
    with subprocess.Popen(("sleep", "60"), user=account and account.uid) as process:
        yield process
        process.kill()


@pytest.fixture
def open_folder(folder: Path) -> Path:
    """A folder that every user may write to."""
    folder.chmod(0o777)
    return folder


async def _table_survives(place: Path) -> bool:
    async with start_postgres(place) as server:
        return await server.sql("SELECT n FROM seen LIMIT 1") == "1\n"


def _gone(pid: int) -> None:
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(20)


async def test_two_servers_at_once_even_below_a_very_long_path(folder: Path) -> None:
    deep = folder / ("a" * 100) / ("b" * 100)

    async with start_postgres(folder / "one") as one, start_postgres(deep) as two:
        await create_database(one, "shop")
        await create_database(one, "shop")
        await one.sql("CREATE TABLE mark (n int)")
        await create_database(one, "shop2", template="shop")
        await create_database(two, "shop3")
        assert await one.sql(_DATABASES) == "shop\nshop2\n"
        assert await two.sql(_DATABASES) == "shop3\n"

        await drop_database(one, "shop2")
        await drop_database(one, "shop2")
        assert await one.sql(_DATABASES) == "shop\n"
        assert psutil.Process(one.pid).cwd() == str(folder / "one" / "data")

    assert not psutil.pid_exists(one.pid)
    assert not psutil.pid_exists(two.pid)


async def test_only_the_password_opens_it_and_commits_are_durable(db: Path) -> None:
    async with start_postgres(db) as server:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(
                host="127.0.0.1", port=server.port, user="postgres", password="guess"
            )
        connection = await asyncpg.connect(server.url.replace("+asyncpg", ""))
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await connection.fetchval(f"SHOW {setting}") == "on"
        await connection.close()
        assert (db / "password").stat().st_mode & 0o777 == 0o600


async def test_a_wrong_statement_says_so(db: Path) -> None:
    async with start_postgres(db) as server:
        with pytest.raises(PartFailedError, match='relation "nothing" does not exist'):
            await server.sql("SELECT * FROM nothing")


async def test_a_folder_in_use_is_refused_by_the_pid_that_holds_it(db: Path) -> None:
    async with start_postgres(db) as server:
        with pytest.raises(FolderInUseError, match=rf"in use by process {os.getpid()}: stop it"):
            async with start_postgres(db):
                pass
        assert await server.sql("SELECT 1") == "1\n"


async def test_it_dies_with_its_owner_and_comes_back_with_its_data(db: Path, keep: Keep) -> None:
    owner, pid = keep(db)

    owner.kill()
    owner.wait()  # its lock on the folder goes with it

    _gone(pid)
    assert await _table_survives(db)


async def test_it_comes_back_after_everything_was_killed(db: Path, keep: Keep) -> None:
    owner, pid = keep(db)

    owner.send_signal(19)  # stopped, so that it cannot tidy up
    psutil.Process(pid).kill()
    owner.kill()
    owner.wait()  # its lock on the folder goes with it

    _gone(pid)
    assert (db / "data/postmaster.pid").exists()
    assert await _table_survives(db)


async def test_a_stale_lock_file_whose_pid_is_in_use_again(
    db: Path, keep: Keep, other_process: subprocess.Popen[bytes]
) -> None:
    owner, pid = keep(db)
    owner.kill()
    owner.wait()
    _gone(pid)
    lock = db / "data/postmaster.pid"
    lock.write_text(f"{other_process.pid}\n{db}/data\n1\n5432\n\n\n  1 2\nready   \n")

    assert await _table_survives(db)
    assert other_process.poll() is None


async def test_an_empty_lock_file(db: Path, keep: Keep) -> None:
    owner, pid = keep(db)
    owner.kill()
    owner.wait()
    _gone(pid)
    (db / "data/postmaster.pid").touch()

    assert await _table_survives(db)


async def test_a_half_made_data_folder_is_made_anew(folder: Path) -> None:
    (folder / "db/data.new/base").mkdir(parents=True)
    (folder / "db/data.new/PG_VERSION").write_text("18\n")

    async with start_postgres(folder / "db") as server:
        assert await server.sql("SELECT 1") == "1\n"
    assert not (folder / "db/data.new").exists()


async def test_a_server_left_behind_is_ended_before_the_next_starts(db: Path) -> None:
    left: Postgres = await prepare_postgres(db)
    process = await spawn(left.part)
    await wait_ready(left.part, process)

    async with start_postgres(db) as server:
        await process.wait()
        assert not psutil.pid_exists(process.pid)
        assert await server.sql("SELECT 1") == "1\n"


async def test_processes_of_other_folders_are_no_strays(db: Path, made_once: Path) -> None:
    async with start_postgres(db) as server:
        other = await prepare_postgres(made_once)
        await end_leftovers(other.part)
        assert await server.sql("SELECT 1") == "1\n"


async def test_a_server_that_cannot_start_shows_its_log(db: Path) -> None:
    async with start_postgres(db):
        pass
    (db / "data/postgresql.conf").write_text("nonsense = 1\n")

    with pytest.raises(PartFailedError, match=r"(?s)postgres ended with status 1 .*nonsense"):
        async with start_postgres(db):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv of util-linux")
async def test_an_ordinary_user_runs_it_as_itself_and_then_root_as_that_user(
    open_folder: Path, keep: Keep
) -> None:
    folder = open_folder
    # The interpreter may lie in root's home, so the user is allowed to read, and nothing else.
    reader = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")

    owner, pid = keep(
        folder / "db", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reader
    )

    assert psutil.Process(pid).uids().real == 65534
    owner.kill()
    owner.wait()
    _gone(pid)
    async with start_postgres(folder / "db") as server:
        assert psutil.Process(server.pid).uids().real == 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")
async def test_root_opens_only_the_way_to_the_data(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # another test may have set up logging for errors only
    home = folder / "home"
    home.mkdir(mode=0o700)

    async with start_postgres(home / "db") as server:
        assert await server.sql("SELECT 1") == "1\n"

    assert home.stat().st_mode & 0o777 == 0o701
    assert (home / "db/data").stat().st_mode & 0o777 == 0o700
    assert f"chmod o+x {home}: Postgres runs as pgserver and must pass through" in caplog.messages
