"""The SSRF guard for names, addresses and sockets; bypasses are tested in test_canary."""

import asyncio
from ipaddress import IPv4Network
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.tls import shared_authorities
from gateway.adapters.webhooks.connection import Origin
from gateway.adapters.webhooks.connector import WebhookConnector
from gateway.adapters.webhooks.request import RequestTarget
from gateway.adapters.webhooks.ssrf_guard import BlockedError, SsrfGuard, UnresolvedError
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.ssrf_rules import CheckedUrl, check_url
from gateway.ports import Reply, SendFault, Webhook
from tests.adapters.receiver import Receiver, receiving, sending

PUBLIC = "93.184.216.34"
LOOPBACK = IPv4Network("127.0.0.0/8")

NAMES = {
    "private.example": ["127.0.0.1"],
    "mixed.example": [PUBLIC, "127.0.0.1"],
    "zone.example": ["fe80::1%1"],
}


def guarded(receiver: Receiver) -> frozenset[int]:
    return frozenset({receiver.port})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1.", "private.example"])
async def test_a_network_that_the_operator_allows_is_called(host: str) -> None:
    async with (
        receiving() as canary,
        sending(
            allow_private=False,
            allowed_networks=(LOOPBACK,),
            allowed_ports=guarded(canary),
            names=NAMES,
        ) as sender,
    ):
        assert await sender.refusal(canary.url(host=host)) is None
        assert isinstance(await sender.send(canary.webhook(host=host)), Reply)
    assert canary.connections == 1


async def test_a_cookie_is_not_kept() -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async with receiving(talk) as receiver, sending() as sender:
        for _ in range(2):
            assert isinstance(await sender.send(Webhook(receiver.url(), (), b"")), Reply)
    assert len(seen) == 2
    assert b"cookie" not in seen[1].lower()


@given(st.from_regex(r"https://[0-9a-z_.:@%\[\]-]{1,30}/?[^#\s]{0,8}", fullmatch=True))
def test_the_host_that_was_vetted_is_connected_to_and_named_in_the_request(url: str) -> None:
    target = check_url(url, ports=(), schemes=("https",))
    if isinstance(target, CheckedUrl):
        _, origin, start = RequestTarget.of(target)
        assert origin == Origin(target.host, target.port, is_tls=True)
        line, host, end = start.split("\r\n")
        named = urlsplit(f"https://{host.removeprefix('Host: ')}")
        assert (named.hostname, named.port or 443, named.username) == (
            target.host,
            target.port,
            None,
        )
        assert line.startswith("POST /")
        assert line.count(" ") == 2
        assert end == ""


async def test_the_socket_is_the_second_line_of_defence() -> None:
    vetting = SsrfGuard(())
    connector = WebhookConnector(vetting, shared_authorities(), None)
    async with receiving() as canary:
        with pytest.raises(BlockedError):
            await connector.open(Origin("127.0.0.1", canary.port, is_tls=False), PhaseTimer())
    await vetting.close()
    assert canary.connections == 0


async def test_a_name_may_have_many_addresses_but_few_are_tried() -> None:
    async def look_up(host: str, port: int) -> list[str]:
        return [f"8.8.{i}.8" for i in range(200)]

    vetting = SsrfGuard((), look_up)
    found = await vetting.addresses("many.example", 443)
    await vetting.close()
    assert len(found) == 8


async def test_a_forbidden_address_is_found_among_many() -> None:
    async def look_up(host: str, port: int) -> list[str]:
        return [*(f"8.8.{i}.8" for i in range(200)), "127.0.0.1"]

    vetting = SsrfGuard((), look_up)
    with pytest.raises(UnresolvedError, match="has no address that may be called"):
        await vetting.addresses("many.example", 443)
    await vetting.close()


@pytest.mark.parametrize("addresses", [None, ["10.0.0.9"], ["8.8.8.8", "127.0.0.1"]])
async def test_nobody_is_told_whether_a_name_leads_inside_or_nowhere(
    addresses: list[str] | None,
) -> None:
    """What there is in the operator's network is not for tenants to find out."""
    names = {} if addresses is None else {"hidden.example": addresses}
    async with sending(allow_private=False, allowed_ports=frozenset({443}), names=names) as sender:
        refusal = await sender.refusal("https://hidden.example/")
        fault = await sender.send(Webhook("https://hidden.example/", (), b""))
    assert isinstance(fault, SendFault)
    words = "The name of the URL's host has no address that may be called."
    assert (refusal, fault.kind, fault.detail) == (None, "dns", words)


async def test_a_name_that_the_system_does_not_know_is_a_dns_fault() -> None:
    async with sending() as sender:
        fault = await sender.send(Webhook("https://nowhere.invalid/", (), b""))
    assert isinstance(fault, SendFault)
    assert fault.kind == "dns"


async def test_a_name_server_that_hangs_is_a_dns_fault_and_not_asked_twice() -> None:
    asked: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        asked.append(host)
        await asyncio.Event().wait()
        return []

    async with sending(lookup=look_up) as sender:
        fault = await sender.send(Webhook("https://slow.example/", (), b""))
    assert isinstance(fault, SendFault)
    assert fault.kind == "dns"
    assert fault.detail == "The name of the URL's host did not resolve within 2 s."
    assert asked == ["slow.example"]


@pytest.mark.parametrize("host", ["foo.localhost", "metadata.google.internal", "printer.local."])
async def test_a_name_that_is_never_public_is_refused_though_dns_does_not_know_it(
    host: str,
) -> None:
    url = f"https://{host}/"
    async with sending(allow_private=False, allowed_ports=frozenset({443}), names={}) as sender:
        assert "never public" in (await sender.refusal(url) or "")
        fault = await sender.send(Webhook(url, (), b""))
    assert isinstance(fault, SendFault)
    assert fault.kind == "blocked"


async def test_such_a_name_is_as_good_as_any_where_the_operator_allows_a_network() -> None:
    async with sending(
        allow_private=False,
        allowed_networks=(LOOPBACK,),
        allowed_ports=frozenset({443}),
        names={"hook.corp.internal": ["127.0.0.1"]},
    ) as sender:
        assert await sender.refusal("https://hook.corp.internal/") is None
