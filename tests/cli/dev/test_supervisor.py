"""Parts that end by themselves come back; parts that are stopped do not."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import redis

from gateway.cli.dev.supervisor import Supervisor
from gateway.embedded import Part, PartFailedError, Valkey, prepare_valkey


class Watcher:
    """Records the lines of a supervisor, and waits for its next restart."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._restarted = asyncio.Event()
        self.supervisor = Supervisor(self.lines.append, self._restarted.set)

    async def restart(self) -> None:
        await asyncio.wait_for(self._restarted.wait(), 20)
        self._restarted.clear()


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    one = Watcher()
    yield one
    await one.supervisor.stop(list(one.supervisor.pids()))


@pytest.fixture
def valkey(tmp_path: Path) -> Valkey:
    return prepare_valkey(tmp_path)


async def _answers(server: Valkey) -> bool:
    with redis.Redis.from_url(server.url) as client:
        while True:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                await asyncio.sleep(0.02)


def _script(folder: Path, code: str) -> Part:
    async def always(_pid: int) -> bool:
        return True

    return Part(
        name="script",
        argv=(sys.executable, "-c", code),
        folder=folder,
        log=folder / "script.log",
        is_ready=always,
    )


async def test_a_killed_part_comes_back_at_the_same_address(
    watcher: Watcher, valkey: Valkey
) -> None:
    await watcher.supervisor.start(valkey.part)
    first = watcher.supervisor.pids()["redis"]

    os.kill(first, signal.SIGKILL)
    await watcher.restart()

    assert await _answers(valkey)
    assert watcher.supervisor.pids()["redis"] != first
    assert watcher.lines == ["redis ended (by SIGKILL), restarting it"]


async def test_a_part_that_ends_again_and_again_is_started_again_and_again(
    watcher: Watcher, tmp_path: Path
) -> None:
    await watcher.supervisor.start(_script(tmp_path, "print('here'); raise SystemExit(3)"))

    for _ in range(3):
        await watcher.restart()

    assert watcher.lines[:3] == ["script ended (with status 3), restarting it"] * 3
    assert (tmp_path / "script.log").read_text().startswith("here\nhere\n")


async def test_a_stopped_part_stays_away(watcher: Watcher, valkey: Valkey) -> None:
    await watcher.supervisor.start(valkey.part)
    pid = watcher.supervisor.pids()["redis"]

    await watcher.supervisor.stop(["redis", "unknown"])

    assert watcher.supervisor.pids() == {}
    assert watcher.lines == []
    assert not psutil.pid_exists(pid)


async def test_a_part_that_cannot_start_is_reported_with_its_log(
    watcher: Watcher, valkey: Valkey, tmp_path: Path
) -> None:
    (tmp_path / "valkey.conf").write_text("no-such-setting 1\n")

    with pytest.raises(PartFailedError, match=r"(?s)redis ended with status 1 .*no-such-setting"):
        await watcher.supervisor.start(valkey.part)


async def test_kill_ends_a_part_that_ignores_its_signal(watcher: Watcher, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    await watcher.supervisor.start(_script(tmp_path, deaf))

    watcher.supervisor.kill()
    await watcher.supervisor.stop(["script"])

    assert watcher.lines == []
