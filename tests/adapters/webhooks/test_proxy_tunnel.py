"""The egress proxy: what it is asked, what it is kept from, and whose fault it is."""

import asyncio
import socket
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from base64 import b64encode

import pytest

from gateway.adapters.webhooks.connection import Origin
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.proxy_tunnel import Proxy, ProxyTunnels
from gateway.adapters.webhooks.ssrf_guard import BlockedError, SsrfGuard
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.connect_proxy import LET_THROUGH, proxying
from tests.adapters.receiver import OK, answering, hang, receiving, reset, sending
from tests.adapters.webhooks.test_sender_tls import authority, client, server

NAMES = {"proxy.example": ["127.0.0.1"], "receiver.example": ["127.0.0.1"]}
NOWHERE = Webhook("http://receiver.example:9/", (), b"{}")


def tls(name: str = "receiver.example") -> ssl.SSLContext:
    return server(authority().issue_cert(name))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_is_asked_for_the_vetted_address_once_for_many_webhooks(
    scheme: str,
) -> None:
    async with (
        proxying() as proxy,
        receiving(answering(OK, OK), tls=tls() if scheme == "https" else None) as receiver,
        sending(names=NAMES, proxy=proxy.way(user="me:p%40ss@"), tls=client()) as sender,
    ):
        replies = [
            await sender.send(receiver.webhook(host="receiver.example", scheme=scheme))
            for _ in range(2)
        ]
    assert [reply.status for reply in replies if isinstance(reply, Reply)] == [200, 200]
    login = b64encode(b"me:p@ss").decode()
    where = f"127.0.0.1:{receiver.port}"
    assert [head.decode() for head in proxy.heads] == [
        f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\nProxy-Authorization: Basic {login}\r\n\r\n"
    ]


async def test_the_certificate_is_checked_against_the_name_in_the_url() -> None:
    async with (
        proxying() as proxy,
        receiving(tls=tls("other.example")) as receiver,
        sending(names=NAMES, proxy=proxy.way(), tls=client()) as sender,
    ):
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "tls"
    assert "mismatch" in fault.detail


async def test_an_ipv6_address_is_asked_for_in_brackets() -> None:
    names = NAMES | {"receiver.example": ["2606:4700::1111"]}
    async with (
        proxying(b"HTTP/1.1 503 No\r\n\r\n") as proxy,
        sending(names=names, proxy=proxy.way()) as sender,
    ):
        await sender.send(NOWHERE)
    assert proxy.asked_for == ["[2606:4700::1111]:9"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered CONNECT with 407"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered CONNECT with 403"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered CONNECT with 502"),
        (b"HTTP/1.0 503 No\r\nProxy-Status: a; error=proxy_internal_error\r\n\r\n", "with 503"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "did not answer CONNECT in HTTP"),
        (b"", "did not answer CONNECT in HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000, "did not answer CONNECT in HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "did not answer CONNECT in HTTP"),
    ],
    ids=["407", "403", "502", "503", "ssh", "nothing", "endless", "more-than-a-head"],
)
async def test_a_proxy_that_fails_is_an_egress_fault(answer: bytes, said: str) -> None:
    async with proxying(answer) as proxy, sending(names=NAMES, proxy=proxy.way()) as sender:
        fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert fault.kind == "egress"
    assert fault.detail.startswith("The gateway's own way out failed: the egress proxy ")
    assert said in fault.detail
    assert proxy.connections == 1


async def test_a_proxy_that_hangs_up_is_tried_twice() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reset(writer)

    async with (
        receiving(talk) as proxy,
        sending(names=NAMES, proxy=Proxy("proxy.example", proxy.port)) as sender,
    ):
        fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert fault.kind == "egress"
    assert "broke the connection off" in fault.detail
    assert proxy.connections == 2


async def test_a_proxy_that_is_not_there_is_an_egress_fault() -> None:
    async with receiving() as gone:
        port = gone.port
    for host, said in [("proxy.example", "takes no connection"), ("no.example", "a name that")]:
        async with sending(names=NAMES, proxy=Proxy(host, port)) as sender:
            fault = await sender.send(NOWHERE)
        assert isinstance(fault, SendFault)
        assert fault.kind == "egress"
        assert said in fault.detail


@pytest.mark.parametrize("patience", [None, 0.2], ids=["in time", "before the deadline"])
async def test_a_proxy_that_takes_no_connections_is_an_egress_fault(
    patience: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if patience is not None:
        monkeypatch.setattr("gateway.adapters.webhooks.proxy_tunnel.CONNECT_SECONDS", patience)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port: int = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            way = Proxy("proxy.example", port)
            timeout = 0.4 if patience is None else 10.0
            async with sending(names=NAMES, proxy=way, timeout=timeout) as sender:
                fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert fault.kind == "egress"
    assert "cannot be reached" in fault.detail


async def test_a_proxy_that_reaches_nobody_by_the_deadline_is_a_timeout() -> None:
    async with (
        receiving(hang) as proxy,
        sending(names=NAMES, proxy=Proxy("proxy.example", proxy.port), timeout=0.3) as sender,
    ):
        fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("No connection was made within")


async def test_a_proxy_that_does_not_reach_the_receiver_in_time_is_not_asked_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.adapters.webhooks.proxy_tunnel.CONNECT_SECONDS", 0.2)
    async with (
        receiving(hang) as proxy,
        sending(names=NAMES, proxy=Proxy("proxy.example", proxy.port)) as sender,
    ):
        fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert proxy.connections == 1


async def test_a_proxy_that_says_the_receiver_is_away_charges_the_receiver() -> None:
    away = b"HTTP/1.1 502 No\r\nProxy-Status: envoy; error=connection_refused\r\n\r\n"
    async with proxying(away) as proxy, sending(names=NAMES, proxy=proxy.way()) as sender:
        fault = await sender.send(NOWHERE)
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == (
        "connect",
        "The connection failed: No address could be reached.",
    )
    assert proxy.connections == 2  # as without a proxy, a refused connection is tried again


async def test_the_next_address_is_asked_for_where_the_first_is_away() -> None:
    names = NAMES | {"receiver.example": ["93.184.216.34", "127.0.0.1"]}
    away = b"HTTP/1.1 502 No\r\nProxy-Status: envoy; error=connection_timeout\r\n\r\n"
    async with (
        proxying(away, LET_THROUGH) as proxy,
        receiving() as receiver,
        sending(names=names, proxy=proxy.way()) as sender,
    ):
        reply = await sender.send(receiver.webhook(host="receiver.example"))
    assert isinstance(reply, Reply)
    assert proxy.asked_for == [f"93.184.216.34:{receiver.port}", f"127.0.0.1:{receiver.port}"]


async def test_each_phase_is_timed_through_the_proxy_too() -> None:
    async with (
        proxying(delay=0.05) as proxy,
        receiving(answering(OK, OK), tls=tls()) as receiver,
        sending(names=NAMES, proxy=proxy.way(), tls=client()) as sender,
    ):
        webhook = receiver.webhook(host="receiver.example", scheme="https")
        cold, kept = await sender.send(webhook), await sender.send(webhook)
    timings = cold.timings
    phases = [timings.dns, timings.connect, timings.tls, timings.first_byte]
    assert all(phase is not None for phase in phases)
    assert timings.connect is not None
    assert 0.05 <= timings.connect <= sum(phase or 0 for phase in phases) <= cold.seconds
    assert (kept.timings.dns, kept.timings.connect, kept.timings.tls) == (None, None, None)
    assert kept.timings.first_byte is not None


async def test_a_forbidden_address_does_not_get_as_far_as_the_proxy() -> None:
    async with proxying() as proxy, receiving() as canary:
        vetting = SsrfGuard(())
        tunnels = ProxyTunnels(proxy.way("127.0.0.1"), vetting)
        connector = WebhookConnector(vetting, client(), tunnels)
        with pytest.raises(BlockedError):
            await connector.open(Origin("127.0.0.1", canary.port, is_tls=False), PhaseTimer())
        await vetting.close()
    assert (proxy.connections, canary.connections) == (0, 0)


async def test_a_send_that_is_cancelled_at_the_proxy_lets_go_of_the_connection() -> None:
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        await reader.read()
        gone.set()

    async with (
        receiving(talk) as proxy,
        sending(names=NAMES, proxy=Proxy("proxy.example", proxy.port)) as sender,
    ):
        task = asyncio.create_task(sender.send(NOWHERE))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://10.0.0.1:3128", Proxy("10.0.0.1", 3128)),
        ("http://proxy.example:3128/", Proxy("proxy.example", 3128)),
        ("http://[fd00::1]:3128", Proxy("fd00::1", 3128)),
        ("http://me@proxy.example:1", Proxy("proxy.example", 1, "Basic bWU6")),
        ("http://m%3Ae:p%C3%A4@proxy.example:1", Proxy("proxy.example", 1, "Basic bTplOnDDpA==")),
    ],
)
def test_the_address_of_a_proxy_is_read(url: str, proxy: Proxy) -> None:
    assert Proxy.of(url) == proxy
    assert "Basic" not in repr(proxy)


@pytest.mark.parametrize("url", ["http://proxy.example", "proxy.example:1", "http://:3128"])
def test_a_proxy_without_host_or_port_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="http://host:port"):
        Proxy.of(url)
