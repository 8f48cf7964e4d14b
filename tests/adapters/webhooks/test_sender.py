import asyncio
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer

import pytest

from gateway.adapters.webhooks.errors import classify
from gateway.adapters.webhooks.sender import HttpSender
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.custom_headers import MAX_VALUE, added, check
from gateway.ports import Reply, Sender, SendFault, Webhook
from tests.adapters.receiver import (
    OK,
    answering,
    hang,
    read_request,
    receiving,
    sending,
)

_HANGING = 200


async def test_a_webhook_arrives_as_it_was_given_and_the_answer_comes_back() -> None:
    requests: list[bytes] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        requests.append(await read_request(reader))
        writer.write(
            b"HTTP/1.1 202 Fine\r\nX-One: 1\r\nX-Odd: a\x01\xe9\r\nContent-Length: 2\r\n\r\nok"
        )

    async with receiving(talk) as receiver, sending() as sender:
        port: Sender = sender
        reply = await port.send(
            Webhook(
                receiver.url(path="/a%20b?c=d"),
                (("content-type", "application/json"), ("webhook-id", "evt_1")),
                b'{"a":1}',
            )
        )
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (202, b"ok")
    assert reply.headers == (("x-one", "1"), ("x-odd", "a\ufffd\u00e9"), ("content-length", "2"))
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /a%20b?c=d HTTP/1.1"
    assert f"Host: 127.0.0.1:{receiver.port}" in lines
    assert {"webhook-id: evt_1", "accept-encoding: identity", "Content-Length: 7"} <= set(lines)
    assert body == b'{"a":1}'


async def test_connections_are_kept_and_each_phase_is_timed_once() -> None:
    async with receiving(answering(OK, OK)) as receiver, sending() as sender:
        first = await sender.send(receiver.webhook())
        second = await sender.send(receiver.webhook())
    assert receiver.connections == 1
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert first.timings.connect is not None
    assert second.timings.connect is None
    assert second.timings.first_byte is not None
    assert second.timings.first_byte <= second.seconds


async def test_an_idle_connection_that_the_receiver_closes_is_replaced() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(OK)
        await read_request(reader)  # and hangs up without an answer

    async with receiving(talk) as receiver, sending() as sender:
        assert isinstance(await sender.send(receiver.webhook()), Reply)
        assert isinstance(await sender.send(receiver.webhook()), Reply)
    assert receiver.connections == 2


async def test_a_host_that_does_not_take_connections_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address: tuple[str, int] = full.getsockname()
        with socket.create_connection(address):
            async with sending(timeout=0.4) as sender:
                fault = await sender.send(Webhook(f"http://127.0.0.1:{address[1]}/", (), b""))
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("No connection was made within")


async def test_many_that_hang_at_one_host_keep_no_other_there_waiting() -> None:
    full = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        if receiver.connections > _HANGING:
            await answering(OK)(reader, writer)
        elif receiver.connections == _HANGING:
            full.set()
        await hang(reader, writer)

    async with receiving(talk) as receiver, sending() as sender:
        sends = [asyncio.create_task(sender.send(receiver.webhook())) for _ in range(_HANGING)]
        await full.wait()
        reply = await sender.send(receiver.webhook())
        assert isinstance(reply, Reply)
        for send in sends:
            send.cancel()
        await asyncio.gather(*sends, return_exceptions=True)


def test_waiting_for_a_free_connection_is_told_apart() -> None:
    kind, detail = classify(TimeoutError(), PhaseTimer())
    assert kind == "timeout"
    assert detail.startswith("None of the connections to this host was free")


async def test_a_refused_connection_is_a_connect_fault() -> None:
    async with receiving() as receiver:
        gone = receiver.webhook()
    async with sending() as sender:
        fault = await sender.send(gone)
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == ("connect", "The connection failed: Connection refused.")


@pytest.mark.parametrize(
    "header",
    [
        ("host", "other.example"),
        ("Content-Length", "0"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("x y", "1"),
        ("", "1"),
        ("x-a", "caf\u00e9"),
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "\ud800"),
    ],
    ids=repr,
)
async def test_a_header_that_bends_the_request_is_never_sent(header: tuple[str, str]) -> None:
    async with receiving() as receiver, sending() as sender:
        fault = await sender.send(Webhook(receiver.url(), (header,), b""))
    assert isinstance(fault, SendFault)
    assert fault.kind == "blocked"
    assert receiver.connections == 0


async def test_every_header_that_a_tenant_may_set_arrives() -> None:
    requests: list[bytes] = []
    custom = {
        "X-!#$%&'*+-.^_`|~": "".join(map(chr, range(0x21, 0x7F))),
        "x-empty": "",
        "x-inner": "a  b",
        "authorization": "Bearer abc",
        "cookie": "a=b",
        "user-agent": "Acme/1",
        "x-long": "v" * MAX_VALUE,
    }
    assert check(custom) is None

    async def talk(reader: Reader, writer: Writer) -> None:
        requests.append(await read_request(reader))
        writer.write(OK)

    async with receiving(talk) as receiver, sending() as sender:
        headers = added((("user-agent", "ours"),), custom)
        assert isinstance(await sender.send(Webhook(receiver.url(), headers, b"{}")), Reply)
    lines = requests[0].decode().split("\r\n")
    assert {f"{name.lower()}: {value}" for name, value in custom.items()} <= set(lines)
    assert sum(line.lower().startswith("user-agent:") for line in lines) == 1


async def test_a_send_that_is_cancelled_stays_cancelled() -> None:
    arrived = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        arrived.set()
        await hang(reader, writer)

    async with receiving(talk) as receiver, sending() as sender:
        task = asyncio.create_task(sender.send(receiver.webhook()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_production_names_its_ports() -> None:
    with pytest.raises(ValueError, match="ports"):
        HttpSender(
            allow_private=False, allowed_networks=(), allowed_ports=frozenset(), allow_http=False
        )
