"""The connection pool: which connections are kept, how many, and which are not reused."""

import asyncio
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Network
from typing import cast

import pytest
from typing_extensions import override

from gateway.adapters.tls import shared_authorities
from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.response import WebhookResponse
from gateway.adapters.webhooks.sender import HttpSender
from gateway.adapters.webhooks.ssrf_guard import SsrfGuard
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.receiver import (
    OK,
    Receiver,
    Talk,
    answering,
    hang,
    read_request,
    receiving,
    sending,
)
from tests.adapters.webhooks.test_sender_tls import NAMES, authority, client, server

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
LARGE = bytes(1_000_000)
LARGER = bytes(20_000_000)  # more than the sockets of this machine take in


def opener() -> WebhookConnector:
    return WebhookConnector(SsrfGuard([IPv4Network("127.0.0.0/8")]), shared_authorities(), None)


@asynccontextmanager
async def at_most(limit: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HttpSender]:
    monkeypatch.setattr("gateway.adapters.webhooks.sender._MAX_CONNECTIONS", limit)
    async with sending() as sender:
        yield sender


class Log:
    """Which connection each request came over, by the number of the connection."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.paths: list[str] = []
        self.opened = 0
        self.ended: list[int] = []
        self.at = asyncio.Event()  # at each end of a connection

    async def talk(self, reader: Reader, writer: Writer) -> None:
        self.opened += 1
        number = self.opened
        try:
            while True:
                head = await read_request(reader)
                self.requests.append(number)
                self.paths.append(head.split(b" ")[1].decode())
                writer.write(OK)
        finally:
            self.ended.append(number)
            self.at.set()

    async def until_ended(self, *numbers: int) -> None:
        while not set(numbers) <= set(self.ended):
            self.at.clear()
            await self.at.wait()


async def send_all(sender: HttpSender, receiver: Receiver, count: int) -> None:
    sends = (sender.send(receiver.webhook()) for _ in range(count))
    assert all(isinstance(one, Reply) for one in await asyncio.gather(*sends))


async def test_the_connection_that_was_used_last_is_used_first() -> None:
    log = Log()
    async with receiving(log.talk) as receiver, sending() as sender:
        await send_all(sender, receiver, 3)
        last = log.requests[-1]
        for _ in range(4):
            await send_all(sender, receiver, 1)
    assert log.opened == 3
    assert log.requests[3:] == [last] * 4


async def test_receivers_do_not_share_connections() -> None:
    one, other = Log(), Log()
    async with receiving(one.talk) as first, receiving(other.talk) as second, sending() as sender:
        for receiver in (first, second, first, second):
            await send_all(sender, receiver, 1)
    assert (one.opened, other.opened) == (1, 1)
    assert (len(one.requests), len(other.requests)) == (2, 2)


async def test_names_at_one_address_do_not_share_connections() -> None:
    log = Log()
    names = {"a.example": ["127.0.0.1"], "b.example": ["127.0.0.1"]}
    async with receiving(log.talk) as receiver, sending(names=names) as sender:
        for host in names:
            assert isinstance(await sender.send(receiver.webhook(host=host)), Reply)
    assert log.opened == 2


async def test_connections_are_limited_and_waiting_callers_are_served_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    under_way: set[str] = set()
    most = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal most
        while True:
            path = (await read_request(reader)).split(b" ")[1].decode()
            order.append(path)
            under_way.add(path)
            most = max(most, len(under_way))
            await asyncio.sleep(0.01)
            under_way.discard(path)
            writer.write(OK)

    async with receiving(talk) as receiver, at_most(2, monkeypatch) as sender:
        hooks = [receiver.webhook(path=f"/{number:02}") for number in range(12)]
        replies = await asyncio.gather(*map(sender.send, hooks))
    assert all(isinstance(one, Reply) for one in replies)
    assert order == sorted(order)
    assert most == 2
    assert receiver.connections == 2


async def test_a_caller_that_waits_too_long_gets_a_fault_and_keeps_no_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    arrived, go = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        arrived.set()
        await go.wait()
        await answering(OK)(reader, writer) if receiver.connections > 1 else writer.write(OK)

    async with receiving(talk) as receiver, at_most(1, monkeypatch) as sender:
        first = asyncio.create_task(sender.send(receiver.webhook()))
        await arrived.wait()
        monkeypatch.setattr(sender, "_timeout", 0.1)
        fault = await sender.send(receiver.webhook())
        cancelled = asyncio.create_task(sender.send(receiver.webhook()))
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        go.set()
        assert isinstance(await first, Reply)
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("None of the connections to this host was free within")
    assert receiver.connections == 1


async def test_idle_connections_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    logs = [Log() for _ in range(3)]
    async with (
        receiving(logs[0].talk) as first,
        receiving(logs[1].talk) as second,
        receiving(logs[2].talk) as third,
        at_most(2, monkeypatch) as sender,
    ):
        for receiver in (first, second, third):
            await send_all(sender, receiver, 1)
        await logs[0].until_ended(1)
        await send_all(sender, second, 1)
    assert [log.opened for log in logs] == [1, 1, 1]


async def test_connections_that_failed_take_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    async with receiving() as gone:
        webhook = gone.webhook()
    async with receiving(log.talk) as receiver, at_most(2, monkeypatch) as sender:
        await send_all(sender, receiver, 1)
        for _ in range(3):
            assert isinstance(await sender.send(webhook), SendFault)
        await send_all(sender, receiver, 1)
    assert log.opened == 1


async def test_a_connection_that_is_not_needed_is_closed_after_a_while() -> None:
    log = Log()
    async with receiving(log.talk) as receiver:
        connections = ConnectionPool(opener().open, limit=9, keep_seconds=0.05)
        origin = Origin("127.0.0.1", receiver.port, is_tls=False)
        timer = PhaseTimer()
        taken = [await connections.take(origin, timer, fresh=False) for _ in range(2)]
        for one in taken:
            assert await one.exchange(REQUEST, WebhookResponse(timer)) == 200
            connections.give_back(one)
            await asyncio.sleep(0.03)
        again = await connections.take(origin, timer, fresh=False)
        assert again is taken[1]
        connections.give_back(again)
        await log.until_ended(1, 2)
        assert await connections.take(origin, timer, fresh=False) not in taken
        connections.close()


async def test_a_receiver_that_closes_an_idle_connection_gets_no_request_over_it() -> None:
    requests: list[int] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        number = receiver.connections
        await read_request(reader)
        requests.append(number)
        writer.write(OK)
        await asyncio.sleep(0.02)
        writer.close()

    async with receiving(talk) as receiver, sending() as sender:
        for _ in range(2):
            reply = await sender.send(receiver.webhook())
            assert isinstance(reply, Reply)
            assert reply.timings.connect is not None  # a connection of its own, at the first try
            await asyncio.sleep(0.1)
    assert requests == [1, 2]


def then(answer: bytes, more: bytes, pause: float) -> Talk:
    """Answers the first request with something more; of later connections, says their number."""

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await read_request(reader)
            writer.write(answer)
            await asyncio.sleep(pause)
            writer.write(more)

    return talk


EVIL = b"HTTP/1.1 410 Gone\r\nContent-Length: 4\r\n\r\nevil"


@pytest.mark.parametrize("pause", [0, 0.02], ids=["with it", "after it"])
@pytest.mark.parametrize("more", [EVIL, EVIL[:9], b"H", b"\0"], ids=["whole", "part", "H", "NUL"])
async def test_an_unsolicited_response_is_never_taken_for_the_next(
    more: bytes, pause: float
) -> None:
    async with receiving(then(OK, more, pause)) as receiver, sending() as sender:
        for count in (1, 2, 3):
            reply = await sender.send(receiver.webhook())
            assert isinstance(reply, Reply)
            assert (reply.status, reply.body) == (200, b"ok")
            await asyncio.sleep(0.05)
            assert receiver.connections == count


async def test_empty_lines_after_an_answer_end_the_connection_once_it_is_idle() -> None:
    async with receiving(then(OK, b"\r\n", 0.02)) as receiver, sending() as sender:
        for _ in range(2):
            await send_all(sender, receiver, 1)
            await asyncio.sleep(0.05)
    assert receiver.connections == 2


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 100 C\r\n\r\n" + OK, True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", False),
        (b"HTTP/1.1 101 S\r\n\r\n", False),
        (b"HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\nOK", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"x" * 70_000, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", False),
    ],
    ids=lambda value: value[9:60] if isinstance(value, bytes) else None,
)
async def test_a_connection_is_kept_only_after_an_answer_that_ended_as_it_should(
    answer: bytes, *, is_kept: bool
) -> None:
    async with receiving(then(answer, b"", 0)) as receiver, sending() as sender:
        await send_all(sender, receiver, 1)
        await send_all(sender, receiver, 1)
    assert receiver.connections == (1 if is_kept else 2)


@pytest.mark.parametrize("begun", [b"", OK[:-1]], ids=["before the answer", "amid the answer"])
async def test_a_send_that_is_cancelled_leaves_no_connection_behind(begun: bytes) -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        if receiver.connections > 1:
            await answering(OK)(reader, writer)
            return
        await read_request(reader)
        writer.write(begun)
        await asyncio.sleep(0.02)
        arrived.set()
        assert await reader.read() == b""
        gone.set()

    async with receiving(talk) as receiver, sending() as sender:
        task = asyncio.create_task(sender.send(receiver.webhook()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await send_all(sender, receiver, 1)
        await gone.wait()
    assert receiver.connections == 2


async def test_a_send_that_times_out_leaves_no_connection_behind() -> None:
    gone = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        await reader.read()
        gone.set()

    async with receiving(talk) as receiver, sending(timeout=0.1) as sender:
        assert isinstance(await sender.send(receiver.webhook()), SendFault)
        await gone.wait()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_large_requests_arrive_whole_and_the_connection_is_kept(scheme: str) -> None:
    bodies: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = b""
            while len(body) < length:
                body += await reader.read(30_000)
                await asyncio.sleep(0.001)
            bodies.append(body)
            writer.write(OK)

    large = bytes(range(256)) * 4000
    tls = server(authority().issue_cert("receiver.example")) if scheme == "https" else None
    async with receiving(talk, tls=tls) as receiver, sending(names=NAMES, tls=client()) as sender:
        url = receiver.url(host="receiver.example", scheme=scheme)
        for body in (large, b"{}", large):
            assert isinstance(await sender.send(Webhook(url, (), body)), Reply)
    assert bodies == [large, b"{}", large]
    assert receiver.connections == 1


async def test_an_answer_before_the_request_was_taken_ends_the_connection() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await hang(reader, writer)

    async with receiving(talk) as receiver, sending() as sender:
        for _ in range(2):
            reply = await sender.send(Webhook(receiver.url(), (), LARGER))
            assert isinstance(reply, Reply)
            assert reply.status == 200
    assert receiver.connections == 2


async def test_an_answer_and_its_end_before_the_request_was_taken_count() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\n\r\ntoo large")
        writer.write_eof()
        await hang(reader, writer)

    async with receiving(talk) as receiver, sending() as sender:
        reply = await sender.send(Webhook(receiver.url(), (), LARGER))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (413, b"too large")
    assert reply.seconds < 5


class Watched(WebhookConnection):
    """Tells how much is waiting to be sent."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.waiting = cast("asyncio.Transport", transport).get_write_buffer_size
        super().connection_made(transport)


async def test_no_more_is_handed_to_the_socket_than_it_takes() -> None:
    async with receiving(hang) as receiver:
        origin = Origin("127.0.0.1", receiver.port, is_tls=False)
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: Watched(origin), "127.0.0.1", receiver.port
        )
        task = asyncio.create_task(connection.exchange(LARGER, WebhookResponse(PhaseTimer())))
        await asyncio.sleep(0.2)
        assert 0 < connection.waiting() < 300_000
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        connection.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_receiver_may_speak_before_it_was_asked_on_a_new_connection(scheme: str) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n")
        await hang(reader, writer)

    tls = server(authority().issue_cert("receiver.example")) if scheme == "https" else None
    async with receiving(talk, tls=tls) as receiver, sending(names=NAMES, tls=client()) as sender:
        reply = await sender.send(receiver.webhook(host="receiver.example", scheme=scheme))
    assert isinstance(reply, Reply)
    assert reply.status == 503


async def test_what_a_receiver_said_before_it_was_asked_counts_for_one_request_only() -> None:
    async with receiving(hang) as receiver:
        origin = Origin("127.0.0.1", receiver.port, is_tls=False)
        connection = await opener().open(origin, PhaseTimer())
        connection.data_received(OK)
        assert await connection.exchange(REQUEST, WebhookResponse(PhaseTimer())) == 200
        assert not connection.is_reusable
        connection.close()
