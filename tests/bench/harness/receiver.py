"""The receiver: takes webhooks cheaply.

    python -m tests.bench.harness.receiver PORT [MORE [MILLISECONDS]]

`GET /count` answers how many distinct jobs it heard of, `GET /arrivals` the instant at which it
first heard of each, `GET /ports` at which MORE ports it listens, each as a host of its own. A
webhook is answered after so many milliseconds, at once where none are given.
"""

import asyncio
import sys
import time
from typing import cast

import msgspec
import uvloop
from typing_extensions import override

_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_DATA = b'"data":{"id":"'
_ID_LENGTH = 36
_OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Arrivals(msgspec.Struct):
    """When the first webhook of each job came, and how many webhooks came in all."""

    instants: dict[str, float]
    webhooks: int = 0
    ports: list[int] = []


class _Connection(asyncio.Protocol):
    def __init__(self, arrivals: Arrivals, pause: float) -> None:
        self._arrivals = arrivals
        self._pause = pause
        self._transport: asyncio.Transport
        self._buffer = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(_END)
        if end and len(body) >= _length_of(head):
            self._buffer = b""
            if head.startswith(b"GET"):
                self._show(head)
            else:
                self._take(body)

    def _show(self, head: bytes) -> None:
        text = msgspec.json.encode(self._shown(head))
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(text), text)
        )

    def _take(self, body: bytes) -> None:
        job_id = body.partition(_DATA)[2][:_ID_LENGTH].decode()
        self._arrivals.webhooks += 1
        self._arrivals.instants.setdefault(job_id, time.time())
        if self._pause:
            asyncio.get_running_loop().call_later(self._pause, self._transport.write, _OK)
        else:
            self._transport.write(_OK)

    def _shown(self, head: bytes) -> object:
        if b"/ports" in head:
            return self._arrivals.ports
        return self._arrivals if b"/arrivals" in head else len(self._arrivals.instants)


def _length_of(head: bytes) -> int:
    found = head.lower().partition(_LENGTH)[2]
    return int(found.split(b"\r\n", 1)[0]) if found else 0


async def _serve(port: int, more: int = 0, milliseconds: int = 0) -> None:
    arrivals = Arrivals({})
    loop = asyncio.get_running_loop()

    def connection() -> _Connection:
        return _Connection(arrivals, milliseconds / 1000)

    for _ in range(more):
        server = await loop.create_server(connection, "127.0.0.1", 0)
        arrivals.ports.append(server.sockets[0].getsockname()[1])
    server = await loop.create_server(connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(*map(int, sys.argv[1:])))
