"""From a host's name to a connection: which addresses are called, in which order, how often."""

import asyncio
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Sequence

import pytest

from gateway.adapters.webhooks import ssrf_guard
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.connect_proxy import proxying
from tests.adapters.receiver import OK, read_request, receiving, sending
from tests.adapters.webhooks.test_sender_tls import authority, client, server


async def answer_and_close(reader: Reader, writer: Writer) -> None:
    await read_request(reader)
    writer.write(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))


def at(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port))


async def test_a_name_is_looked_up_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    async with receiving(answer_and_close) as receiver, sending(lookup=look_up) as sender:
        replies = [await sender.send(receiver.webhook(host="some.example")) for _ in range(3)]
        assert asked == ["some.example"]
        monkeypatch.setattr("gateway.adapters.webhooks.connector.now", lambda: float("inf"))
        await sender.send(receiver.webhook(host="some.example"))
    assert asked == ["some.example"] * 2
    assert receiver.connections == 4
    dns = [one.timings.dns is not None for one in replies]
    assert dns == [True, False, False]


async def test_a_name_that_was_refused_is_looked_up_again() -> None:
    answers: list[Sequence[str]] = [["127.0.0.1", "8.8.8.8"], ["10.0.0.1"], ["169.254.169.254"]]

    async def look_up(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    ports = frozenset({9})
    async with sending(allow_private=False, allowed_ports=ports, lookup=look_up) as sender:
        for _ in range(3):
            fault = await sender.send(Webhook("http://some.example:9/", (), b""))
            assert isinstance(fault, SendFault)
            assert fault.kind == "dns"
    assert answers == []


async def test_the_addresses_of_a_name_take_turns() -> None:
    names = {"some.example": ["127.0.0.1", "127.0.0.2"]}
    async with (
        receiving(answer_and_close) as first,
        receiving(answer_and_close, listener=at("127.0.0.2", first.port)) as second,
        sending(names=names) as sender,
    ):
        for _ in range(4):
            assert isinstance(await sender.send(first.webhook(host="some.example")), Reply)
    assert (first.connections, second.connections) == (2, 2)


async def test_an_address_that_does_not_answer_costs_a_moment_only() -> None:
    names = {"some.example": ["127.0.0.2", "127.0.0.1"]}
    async with receiving() as receiver, sending(names=names) as sender:
        with (
            socket.create_server(("127.0.0.2", receiver.port), backlog=0) as full,
            socket.create_connection(full.getsockname()),
        ):
            reply = await sender.send(receiver.webhook(host="some.example"))
    assert isinstance(reply, Reply)
    assert 0.2 < reply.seconds < 4


async def test_an_address_that_refuses_is_passed_over() -> None:
    names = {"some.example": ["127.0.0.2", "127.0.0.3", "127.0.0.1"]}
    async with receiving() as receiver, sending(names=names) as sender:
        reply = await sender.send(receiver.webhook(host="some.example"))
    assert isinstance(reply, Reply)


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
async def test_an_address_with_a_bad_certificate_is_passed_over(*, through_proxy: bool) -> None:
    names = {
        "some.example": ["127.0.0.1", "127.0.0.2", "127.0.0.3"],
        "proxy.example": ["127.0.0.1"],
    }
    bad = server(authority().issue_cert("other.example"))
    good = server(authority().issue_cert("some.example"))
    async with (
        receiving(tls=bad) as first,
        receiving(tls=bad, listener=at("127.0.0.2", first.port)),
        receiving(tls=good, listener=at("127.0.0.3", first.port)) as third,
        proxying() as proxy,
        sending(names=names, tls=client(), proxy=proxy.way() if through_proxy else None) as sender,
    ):
        reply = await sender.send(first.webhook(host="some.example", scheme="https"))
    assert isinstance(reply, Reply)
    assert third.connections == 1
    assert proxy.connections == (3 if through_proxy else 0)


async def test_the_fault_of_the_last_address_is_reported() -> None:
    names = {"some.example": ["127.0.0.1", "127.0.0.2"]}
    async with receiving() as gone:
        webhook = gone.webhook(host="some.example")
    async with sending(names=names) as sender:
        fault = await sender.send(webhook)
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == ("connect", "The connection failed: Connection refused.")


async def test_through_the_proxy_no_socket_leads_anywhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[object] = []
    monkeypatch.setattr(ssrf_guard.SsrfGuard, "open_socket", lambda *args: made.append(args))
    names = {"some.example": ["127.0.0.1"], "proxy.example": ["127.0.0.1"]}
    async with (
        proxying() as proxy,
        receiving() as receiver,
        sending(names=names, proxy=proxy.way()) as sender,
    ):
        assert isinstance(await sender.send(receiver.webhook(host="some.example")), Reply)
    assert made == []


async def test_a_cancelled_send_lets_go_of_a_connection_that_is_being_made() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.read(1)
        arrived.set()
        await reader.read()
        gone.set()

    names = {"some.example": ["127.0.0.1"]}
    async with receiving(talk) as receiver, sending(names=names) as sender:
        webhook = receiver.webhook(host="some.example", scheme="https")
        task = asyncio.create_task(sender.send(webhook))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
