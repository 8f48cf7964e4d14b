"""The load: a cheap HTTP/1.1 client in a process of its own.

`python -m tests.bench.harness.load` reads one `Load` from standard input and answers one `Outcome`, both JSON. All requests are POSTs
over kept-alive connections. A closed loop sends the next request when an answer is whole; an open
one, of a given rate, sends when the next is due, whatever became of those before.
"""

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import cast

import msgspec
import uvloop
from typing_extensions import override

NUMBER = "########"
_LOOK_AGAIN_SECONDS = 0.001
_PATIENCE_SECONDS = 30.0
_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class Load(msgspec.Struct, kw_only=True):
    """What to send: request n has key n of `keys`, in turns, and n in place of `########`.

    It ends after `seconds`, or after `count` requests. `rate` per second makes an open loop.
    `distinct` repeats the first so many requests for ever, `first` is the first n.
    """

    port: int
    path: str
    keys: list[str]
    body: str
    connections: int = 64
    seconds: float = 0.0
    count: int = 0
    rate: float = 0.0
    distinct: int = 0
    first: int = 0
    headers: str = ""
    keeps_answers: bool = False


class Outcome(msgspec.Struct, kw_only=True):
    """What came of it; `answers` are (id, instant when it was due, instant of the answer).

    Latencies are seconds, in an open loop from the instant when the request was due.
    """

    count: int
    seconds: float
    p50: float
    p99: float
    refused: dict[str, int]
    answers: list[tuple[str, float, float]]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.count / self.seconds


class _Connection(asyncio.Protocol):
    """One kept-alive connection with at most one request under way."""

    def __init__(self, done: Callable[["_Connection", int, bytes], None]) -> None:
        self._done = done
        self._transport: asyncio.Transport
        self._buffer = b""
        self.due = 0.0

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, request: bytes, due: float) -> None:
        self.due = due
        self._transport.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(_END)
        if end and len(body) >= _length_of(head):
            self._buffer = b""
            self._done(self, int(head[9:12]), body)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self.due:
            self._done(self, 0, b"")

    def close(self) -> None:
        self.due = 0.0
        self._transport.close()


def _length_of(head: bytes) -> int:
    found = head.lower().partition(_LENGTH)[2]
    return int(found.split(b"\r\n", 1)[0])


class _Run:
    """Sends what the load says and notes what comes back."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._heads = [_head(load, key) for key in load.keys]
        self._body = load.body.partition(NUMBER)
        self._sent = 0
        self._latencies: list[float] = []
        self._answers: list[tuple[str, float, float]] = []
        self._refused: Counter[str] = Counter()
        self._idle: deque[_Connection] = deque()
        self._lost = 0
        self._started = self._answered_at = 0.0

    async def run(self) -> Outcome:
        loop, load = asyncio.get_running_loop(), self._load
        for _ in range(load.connections):
            connection = partial(_Connection, self._done)
            self._idle.append((await loop.create_connection(connection, "127.0.0.1", load.port))[1])
        self._started = self._answered_at = time.time()
        await (self._send_on_time() if load.rate else self._send_at_once())
        for connection in self._idle:
            connection.close()
        return self._outcome()

    def _outcome(self) -> Outcome:
        ordered = sorted(self._latencies) or [0.0]
        return Outcome(
            count=len(self._latencies),
            seconds=max(self._answered_at - self._started, 1e-9),
            p50=ordered[len(ordered) // 2],
            p99=ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
            refused=dict(self._refused),
            answers=self._answers,
        )

    async def _send_at_once(self) -> None:
        while self._idle and self._wants_more():
            self._send(self._idle.popleft(), time.time())
        await self._all_answered()

    async def _send_on_time(self) -> None:
        while self._wants_more():
            due = self._started + self._sent / self._load.rate
            if due > time.time() or not self._idle:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            else:
                self._send(self._idle.popleft(), due)
        await self._all_answered()

    async def _all_answered(self) -> None:
        while len(self._idle) + self._lost < self._load.connections:
            if not self._wants_more() and time.time() > self._answered_at + _PATIENCE_SECONDS:
                self._refused["no answer"] += self._load.connections - len(self._idle)
                return
            await asyncio.sleep(0.01)

    def _wants_more(self) -> bool:
        load = self._load
        if load.count:
            return self._sent < load.count
        if load.rate:
            return self._sent < load.rate * load.seconds
        return time.time() < self._started + load.seconds

    def _send(self, connection: _Connection, due: float) -> None:
        load = self._load
        number = load.first + (self._sent % load.distinct if load.distinct else self._sent)
        self._sent += 1
        before, _, after = self._body
        digits = f"{number:0{len(NUMBER)}}"
        head = self._heads[number % len(self._heads)].replace(NUMBER, digits)
        connection.send(f"{head}{before}{digits}{after}".encode(), due)

    def _done(self, connection: _Connection, status: int, body: bytes) -> None:
        self._answered_at = time.time()
        if status == 200:
            self._latencies.append(self._answered_at - connection.due)
            if self._load.keeps_answers:
                self._answers.append(
                    (msgspec.json.decode(body)["id"], connection.due, self._answered_at)
                )
        else:
            self._refused[f"{status} {body[:200].decode(errors='replace')}"] += 1
        if status == 0:
            self._lost += 1
        elif self._load.rate or not self._wants_more():
            self._idle.append(connection)
        else:
            self._send(connection, self._answered_at)


def _head(load: Load, key: str) -> str:
    return (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port}\r\nAuthorization: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(load.body.encode())}\r\n"
        f"{load.headers}\r\n"
    )


def main() -> None:
    """Run the load that standard input describes."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(_Run(load).run())
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
