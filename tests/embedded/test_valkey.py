"""The embedded Valkey."""

import os
from pathlib import Path

import psutil
import pytest
import redis

from gateway.embedded import FolderInUseError, start_valkey
from gateway.embedded.part import spawn, wait_ready
from gateway.embedded.valkey import prepare_valkey


async def test_only_the_password_opens_it(folder: Path) -> None:
    async with start_valkey(folder / "redis") as server:
        with (
            redis.Redis(port=server.port, password="guess") as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        with redis.Redis.from_url(server.url_of(63)) as client:
            assert client.set("a", "b")
        assert (folder / "redis/valkey.conf").stat().st_mode & 0o777 == 0o600
        assert server.password not in " ".join(psutil.Process(server.pid).cmdline())
    assert not psutil.pid_exists(server.pid)


async def test_it_starts_empty_with_the_same_password(folder: Path) -> None:
    async with start_valkey(folder / "redis") as first:
        with redis.Redis.from_url(first.url) as client:
            client.set("a", "b")
    async with start_valkey(folder / "redis") as second:
        assert second.password == first.password
        with redis.Redis.from_url(second.url) as client:
            assert client.dbsize() == 0


async def test_a_folder_in_use_is_refused(folder: Path) -> None:
    async with start_valkey(folder / "redis"):
        with pytest.raises(FolderInUseError, match=f"by process {os.getpid()}"):
            async with start_valkey(folder / "redis"):
                pass


async def test_a_server_left_behind_is_ended_before_the_next_starts(folder: Path) -> None:
    (folder / "redis").mkdir()
    left = prepare_valkey(folder / "redis")
    process = await spawn(left.part)
    await wait_ready(left.part, process)

    async with start_valkey(folder / "redis") as server:
        await process.wait()
        assert psutil.pid_exists(server.pid)
        assert not psutil.pid_exists(process.pid)
