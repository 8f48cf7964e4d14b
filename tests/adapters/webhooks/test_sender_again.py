"""What is tried again at once, inside one attempt and its deadline, and what is not."""

import asyncio
import os
import resource
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network

import pytest
from typing_extensions import override

from gateway.adapters.tls import shared_authorities
from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.errors import SEND_ERRORS
from gateway.adapters.webhooks.exchange import Exchange
from gateway.adapters.webhooks.ssrf_guard import SsrfGuard
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.ports import Reply, SendFault
from tests.adapters.connect_proxy import LET_THROUGH, proxying
from tests.adapters.receiver import (
    OK,
    Talk,
    hang,
    read_request,
    receiving,
    reset,
    sending,
)
from tests.adapters.webhooks.test_sender_tls import NAMES, authority, client, server

BOTH_NAMES = NAMES | {"proxy.example": ["127.0.0.1"]}
AWAY = b"HTTP/1.1 502 No\r\nProxy-Status: p; error=connection_refused\r\n\r\n"


class Tries(WebhookConnector):
    """Counts them, and has the receiver listen after the first one that failed."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        super().__init__(SsrfGuard([IPv4Network("127.0.0.0/8")]), shared_authorities(), None)
        self.sock = sock
        self.count = 0

    @override
    async def open(self, origin: Origin, timer: PhaseTimer) -> WebhookConnection:
        self.count += 1
        try:
            return await super().open(origin, timer)
        except OSError:
            if self.sock is not None:
                self.sock.listen()
            raise

    async def run(self, port: int) -> Reply:
        connections = ConnectionPool(self.open, limit=1)
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        try:
            return await Exchange(connections, Origin("127.0.0.1", port, False), request).run()
        finally:
            connections.close()


async def answer_once(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    while True:
        try:
            connection, _ = await loop.sock_accept(sock)
            break
        except OSError:  # it does not listen yet
            await asyncio.sleep(0.001)
    await loop.sock_recv(connection, 4096)
    await loop.sock_sendall(connection, OK)
    connection.close()


async def test_a_refused_connection_is_made_at_the_second_try() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        tries = Tries(sock)
        receiver = asyncio.create_task(answer_once(sock))
        reply = await tries.run(sock.getsockname()[1])
        await receiver
    assert reply.status == 200
    assert tries.count == 2


async def test_there_is_no_third_try() -> None:
    async with receiving() as gone:
        port = gone.port
    tries = Tries()
    with pytest.raises(SEND_ERRORS):
        await tries.run(port)
    assert tries.count == 2


async def test_a_receiver_that_the_proxy_reaches_a_moment_later_is_reached() -> None:
    async with (
        proxying(AWAY, LET_THROUGH) as proxy,
        receiving() as receiver,
        sending(names=BOTH_NAMES, proxy=proxy.way()) as sender,
    ):
        reply = await sender.send(receiver.webhook(host="receiver.example"))
    assert isinstance(reply, Reply)
    assert proxy.connections == 2


async def hang_up(reader: Reader, writer: Writer) -> None:
    await reader.read(1)


async def take_and_reset(reader: Reader, writer: Writer) -> None:
    await read_request(reader)
    reset(writer)


@pytest.mark.parametrize(
    ("talk", "scheme", "kind", "connections"),
    [
        pytest.param(hang_up, "https", "tls", 2, id="cut in the handshake"),
        pytest.param(take_and_reset, "http", "body", 1, id="cut when it was sent"),
        pytest.param(hang, "https", "timeout", 1, id="no handshake"),
        pytest.param(hang, "http", "timeout", 1, id="no answer"),
    ],
)
async def test_only_what_was_not_sent_is_tried_again(
    talk: Talk, scheme: str, kind: str, connections: int
) -> None:
    async with receiving(talk) as receiver, sending(names=NAMES, timeout=0.4) as sender:
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme=scheme))
    assert isinstance(fault, SendFault)
    assert fault.kind == kind
    assert receiver.connections == connections


@pytest.mark.parametrize("end", [Writer.close, reset], ids=["fin", "rst"])
async def test_stale_connections_cost_no_attempt_however_many_are_kept(
    end: Callable[[Writer], None],
) -> None:
    full = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        if receiver.connections == 6:
            full.set()
        await full.wait()
        writer.write(OK)
        await reader.read(1)
        end(writer)

    async with receiving(talk) as receiver, sending() as sender:
        first, again = [
            await asyncio.gather(*(sender.send(receiver.webhook()) for _ in range(count)))
            for count in (6, 3)
        ]
        again += await asyncio.gather(*(sender.send(receiver.webhook()) for _ in range(6)))
    assert [isinstance(one, Reply) and one.status for one in (*first, *again)] == [200] * 15
    assert receiver.connections == 15


@pytest.mark.parametrize("start", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", OK[:30]])
async def test_once_an_answer_has_begun_nothing_is_sent_again(start: bytes) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)
        writer.write(start)

    async with receiving(talk) as receiver, sending() as sender:
        assert isinstance(await sender.send(receiver.webhook()), Reply)
        fault = await sender.send(receiver.webhook())
    assert isinstance(fault, SendFault)
    assert fault.kind == "body"
    assert receiver.connections == 1


async def test_a_refused_certificate_is_not_offered_twice() -> None:
    tls = server(authority().issue_cert("other.example"))
    async with (
        proxying() as proxy,  # it counts; a receiver with TLS does not hear of a broken handshake
        receiving(tls=tls) as receiver,
        sending(names=BOTH_NAMES, tls=client(), proxy=proxy.way()) as sender,
    ):
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "tls"
    assert proxy.connections == 1


async def test_a_blocked_name_is_not_looked_up_twice() -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with (
        receiving() as canary,
        sending(
            allow_private=False, allowed_ports=frozenset({canary.port}), lookup=look_up
        ) as sender,
    ):
        fault = await sender.send(canary.webhook(host="private.example"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "dns"
    assert asked == ["private.example"]
    assert canary.connections == 0


async def test_both_tries_share_one_deadline() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        if receiver.connections > 1:
            await hang(reader, writer)

    async with receiving(talk) as receiver, sending(names=NAMES, timeout=0.4) as sender:
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("The TLS handshake did not end within")
    assert receiver.connections == 2


async def test_a_machine_without_room_for_a_connection_is_not_the_receivers_fault() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with receiving() as receiver, sending() as sender:
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            fault = await sender.send(receiver.webhook())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == (
        "egress",
        "The gateway's own way out failed: it has no room for one more connection.",
    )
