"""A place for servers, and ways to run them in a process that can be killed."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from gateway.embedded.postgres import prepare_postgres
from tests.servers import make_folder

_KEEP = """
import asyncio, sys
from pathlib import Path
from gateway.embedded import start_postgres

async def main():
    async with start_postgres(Path(sys.argv[1])) as server:
        await server.sql("CREATE TABLE IF NOT EXISTS seen (n int)", "INSERT INTO seen VALUES (1)")
        print(server.pid, server.url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that all users may reach."""
    place = make_folder()
    yield place
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def made_once() -> Iterator[Path]:
    """A folder with fresh data: initdb takes longer than all else here."""
    place = make_folder()
    asyncio.run(prepare_postgres(place))
    yield place
    shutil.rmtree(place)


@pytest.fixture
def db(folder: Path, made_once: Path) -> Path:
    """A folder with fresh data that no server has used."""
    subprocess.run(("cp", "-a", made_once, folder / "db"), check=True)
    return folder / "db"


Keep = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def keep() -> Iterator[Keep]:
    """Run Postgres under another process, with a command before it; answers it and its Postgres."""
    started: list[subprocess.Popen[str]] = []
    servers: list[psutil.Process] = []

    def start(place: Path, *before: str) -> tuple[subprocess.Popen[str], int]:
        command = (*before, sys.executable, "-c", _KEEP, str(place))
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        answer = process.stdout.readline()
        assert answer, "Postgres did not start"
        servers.append(psutil.Process(int(answer.split()[0])))
        return process, servers[-1].pid

    yield start
    for process in started:
        process.kill()
        process.communicate()
    psutil.wait_procs(servers)
