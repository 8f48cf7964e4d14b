"""The timings of a webhook; each bound is a wait that the other side causes."""

import asyncio
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Sequence

from gateway.core.webhooks.signed_request import Timings
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.receiver import OK, hang, read_request, receiving, sending
from tests.adapters.webhooks.test_sender_tls import authority, client, server

WAIT = 0.05


def known(timings: Timings) -> list[float]:
    phases = (timings.dns, timings.connect, timings.tls, timings.first_byte)
    return [phase for phase in phases if phase is not None]


async def test_each_wait_is_counted_in_its_own_phase() -> None:
    async def look_up(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(WAIT)
        return ["127.0.0.1"]

    async def talk(reader: Reader, writer: Writer) -> None:
        while True:
            await read_request(reader)
            await asyncio.sleep(WAIT)
            writer.write(OK)

    async with receiving(talk) as receiver, sending(lookup=look_up) as sender:
        cold = await sender.send(receiver.webhook(host="slow.example"))
        kept = await sender.send(receiver.webhook(host="slow.example"))
    assert cold.timings.dns is not None
    assert cold.timings.first_byte is not None
    assert cold.timings.dns >= WAIT
    assert cold.timings.first_byte >= WAIT
    assert cold.timings.connect is not None
    assert cold.timings.tls is None
    assert sum(known(cold.timings)) <= cold.seconds
    assert kept.timings.first_byte is not None
    assert WAIT <= kept.timings.first_byte <= kept.seconds
    assert known(kept.timings) == [kept.timings.first_byte]


async def test_an_address_that_failed_counts_as_connecting_and_not_as_tls() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await asyncio.sleep(WAIT)  # and hangs up in the handshake

    names = {"receiver.example": ["127.0.0.1", "127.0.0.2"]}
    tls = server(authority().issue_cert("receiver.example"))
    async with receiving(talk) as first:
        sock = socket.create_server(("127.0.0.2", first.port))
        async with (
            receiving(tls=tls, listener=sock) as second,
            sending(names=names, tls=client()) as sender,
        ):
            reply = await sender.send(first.webhook(host="receiver.example", scheme="https"))
    assert isinstance(reply, Reply)
    assert (first.connections, second.connections) == (1, 1)
    assert reply.timings.connect is not None
    assert reply.timings.connect >= WAIT
    assert sum(known(reply.timings)) <= reply.seconds


async def test_a_lookup_that_failed_is_timed() -> None:
    async with sending(names={}) as sender:
        fault = await sender.send(Webhook("http://nowhere.example/", (), b""))
    assert isinstance(fault, SendFault)
    assert fault.timings.dns is not None
    assert known(fault.timings) == [fault.timings.dns]


async def test_a_lookup_that_outlasts_the_deadline_is_named() -> None:
    async def look_up(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    async with receiving(hang) as receiver, sending(lookup=look_up, timeout=0.2) as sender:
        fault = await sender.send(receiver.webhook(host="slow.example"))
    assert isinstance(fault, SendFault)
    assert fault.detail.startswith("The name of the URL's host did not resolve within")
