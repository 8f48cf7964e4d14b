"""A small HTTP proxy that knows CONNECT and nothing else."""

import asyncio
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from gateway.adapters.webhooks.proxy_tunnel import Proxy
from tests.adapters.receiver import receiving

LET_THROUGH = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n"


@dataclass
class ConnectProxy:
    """Where it listens, what it was asked, and what it says instead of letting through."""

    port: int = 0
    connections: int = 0
    heads: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)  # the last one for ever
    delay: float = 0.0

    @property
    def asked_for(self) -> list[str]:
        return [head.split(b" ")[1].decode() for head in self.heads]

    def way(self, host: str = "proxy.example", user: str = "") -> Proxy:
        return Proxy.of(f"http://{user}{host}:{self.port}")

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        await asyncio.sleep(self.delay)
        answer = LET_THROUGH
        if self.answers:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not answer.startswith(LET_THROUGH):
            writer.write(answer)
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        there, back = await asyncio.open_connection(host.strip("[]"), int(port))
        try:
            writer.write(answer)
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            back.close()


async def _pass_on(reader: Reader, writer: Writer) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def proxying(*answers: bytes, delay: float = 0.0) -> AsyncIterator[ConnectProxy]:
    """A proxy at a free port of 127.0.0.1."""
    proxy = ConnectProxy(answers=list(answers), delay=delay)
    async with receiving(proxy.serve) as listening:
        proxy.port = listening.port
        yield proxy
