"""The look at a receiver, against real TLS servers on loopback, and how it is judged."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network

import pytest
import trustme

from gateway.adapters.webhooks.certificate import read_certificate
from gateway.adapters.webhooks.sender import HttpSender
from gateway.core.webhooks.receiver_check import StepName, StepResult, judge_check
from gateway.core.webhooks.receiver_probe import ReceiverProbe
from tests.adapters.connect_proxy import proxying
from tests.adapters.receiver import hang, receiving, sending
from tests.adapters.webhooks.test_sender_tls import NAMES, authority, client, server

HOST = "receiver.example"
NOW = datetime.now(UTC)
OK, WARN, FAIL, SKIPPED = StepResult.OK, StepResult.WARN, StepResult.FAIL, StepResult.SKIPPED


def results(probe: ReceiverProbe, *, sees_inside: bool = True) -> dict[str, StepResult]:
    """How each step before the request is judged."""
    judged = judge_check(probe, None, NOW, sees_inside=sees_inside)
    return {one.name.value: one.result for one in judged.steps[:-1]}


def told(probe: ReceiverProbe, step: StepName, *, sees_inside: bool = True) -> str:
    """The words of a step."""
    judged = judge_check(probe, None, NOW, sees_inside=sees_inside)
    return next(f"{one.found} {one.to_do}" for one in judged.steps if one.name is step)


async def look(
    certificate: trustme.LeafCert, names: dict[str, list[str]] | None = None
) -> ReceiverProbe:
    async with (
        receiving(hang, tls=server(certificate)) as receiver,
        sending(names=names or NAMES, tls=client()) as sender,
    ):
        return await sender.probe(receiver.url(HOST, scheme="https"), 10.0)


async def test_a_good_receiver_passes_each_step() -> None:
    probe = await look(authority().issue_cert(HOST))
    assert results(probe) == {"dns": OK, "guard": OK, "connect": OK, "tls": OK}
    assert probe.is_reached
    assert probe.tls
    assert probe.tls.protocol == "TLSv1.3"
    assert probe.tls.certificate
    assert probe.tls.certificate.names == (HOST,)
    assert "trustme" in probe.tls.certificate.issuer
    text = told(probe, StepName.TLS)
    assert f"It is for {HOST}" in text
    assert "the chain was verified" in text
    assert probe.lookup
    assert probe.lookup.seconds is not None


@pytest.mark.parametrize(
    ("certificate", "words"),
    [
        pytest.param(
            lambda: authority().issue_cert(HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC)),
            ("expired", "It ended on 2020-01-01", "renew the certificate"),
            id="expired",
        ),
        pytest.param(
            lambda: authority().issue_cert("other.example"),
            ("mismatch", "It is for other.example", "for the host of the URL"),
            id="wrong-name",
        ),
        pytest.param(
            lambda: trustme.CA().issue_cert(HOST), ("issuer", "intermediate ones"), id="unknown"
        ),
    ],
)
async def test_a_refused_certificate_is_shown_with_what_to_do(
    certificate: Callable[[], trustme.LeafCert], words: tuple[str, ...]
) -> None:
    probe = await look(certificate())
    assert results(probe) == {"dns": OK, "guard": OK, "connect": OK, "tls": FAIL}
    assert not probe.is_reached
    text = told(probe, StepName.TLS)
    assert all(word in text for word in words), text


async def test_a_self_signed_certificate_is_called_so() -> None:
    made = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with (
        made.cert_pem.tempfile() as certificate,
        made.private_key_pem.tempfile() as key,
    ):
        context.load_cert_chain(certificate, key)
    async with (
        receiving(hang, tls=context) as receiver,
        sending(names=NAMES, tls=client()) as sender,
    ):
        probe = await sender.probe(receiver.url(HOST, scheme="https"), 10.0)
    assert results(probe)["tls"] is FAIL
    assert "instead of a self-signed one" in told(probe, StepName.TLS)


@pytest.mark.parametrize(("days", "result"), [(13, WARN), (15, OK)])
async def test_a_certificate_that_ends_soon_is_a_warning(days: int, result: StepResult) -> None:
    ends = NOW + timedelta(days=days, hours=1)
    probe = await look(authority().issue_cert(HOST, not_after=ends))
    assert results(probe)["tls"] is result
    assert f"It ends in {days} days" in told(probe, StepName.TLS)
    assert probe.is_reached


async def test_a_handshake_that_stalls_ends_with_the_time() -> None:
    async with receiving(hang) as receiver, sending(names=NAMES) as sender:
        probe = await sender.probe(receiver.url(HOST, scheme="https"), 0.3)
    assert results(probe) == {"dns": OK, "guard": OK, "connect": OK, "tls": FAIL}
    assert "did not end in time" in told(probe, StepName.TLS)


async def test_a_receiver_that_refuses_is_named(unused_tcp_port: int) -> None:
    async with sending(names=NAMES) as sender:
        probe = await sender.probe(f"https://{HOST}:{unused_tcp_port}/", 10.0)
    assert results(probe) == {"dns": OK, "guard": OK, "connect": FAIL, "tls": SKIPPED}
    assert "Connection refused" in told(probe, StepName.CONNECT)


async def test_one_of_two_addresses_that_fails_is_a_warning() -> None:
    probe = await look(authority().issue_cert(HOST), {HOST: ["127.0.0.2", "127.0.0.1"]})
    assert results(probe) == {"dns": OK, "guard": OK, "connect": WARN, "tls": OK}
    assert "127.0.0.2" in told(probe, StepName.CONNECT)
    assert "127.0.0" not in told(probe, StepName.CONNECT, sees_inside=False)


async def test_a_name_without_an_address_ends_the_check() -> None:
    async with sending(names={}) as sender:
        probe = await sender.probe(f"https://{HOST}/", 10.0)
    assert results(probe) == {"dns": FAIL, "guard": SKIPPED, "connect": SKIPPED, "tls": SKIPPED}
    assert "does not resolve" in told(probe, StepName.DNS)


async def test_a_lookup_that_hangs_ends_with_the_time() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with sending(lookup=never) as sender:
        probe = await sender.probe(f"https://{HOST}/", 0.2)
    assert results(probe)["guard"] is FAIL
    assert not probe.is_reached


def strict(names: dict[str, list[str]] | None, *allowed: str) -> HttpSender:
    """A sender as in production: no private addresses but those that are allowed."""

    async def look_up(host: str, port: int) -> list[str]:
        return (names or {}).get(host, [])

    return HttpSender(
        allow_private=False,
        allowed_networks=[IPv4Network(one) for one in allowed],
        allowed_ports=frozenset({443}),
        allow_http=False,
        lookup=look_up,
        tls=client(),
    )


async def test_a_private_address_is_not_called_and_only_staff_see_why() -> None:
    sender = strict({"inside.example": ["192.0.2.1", "127.0.0.1"], "nothing.example": []})
    inside = await sender.probe("https://inside.example/", 10.0)
    nothing = await sender.probe("https://nothing.example/", 10.0)
    await sender.aclose()
    assert inside.tried == ()
    assert results(inside) == {"dns": OK, "guard": FAIL, "connect": SKIPPED, "tls": SKIPPED}
    assert "127.0.0.1" in told(inside, StepName.GUARD)
    # A tenant cannot tell the two apart.
    judged = [judge_check(one, None, NOW, sees_inside=False) for one in (inside, nothing)]
    texts = [[(one.result, one.found, one.to_do) for one in each.steps] for each in judged]
    assert texts[0] == texts[1]
    assert judged[0].addresses == ()


@pytest.mark.parametrize(
    "url", ["https://10.0.0.1/", "https://169.254.169.254/", "http://a.example/"]
)
async def test_a_url_that_may_not_be_called_is_refused_before_anything(url: str) -> None:
    sender = strict(None)
    probe = await sender.probe(url, 10.0)
    await sender.aclose()
    assert probe.url_fault
    assert results(probe)["guard"] is FAIL
    assert probe.lookup is None


async def test_an_address_that_an_operator_allows_is_not_shown_to_a_tenant() -> None:
    sender = strict({HOST: ["127.0.0.1"]}, "127.0.0.0/8")
    probe = await sender.probe(f"https://{HOST}/", 10.0)
    await sender.aclose()
    for_tenant = judge_check(probe, None, NOW, sees_inside=False)
    assert "127.0.0.1" not in str(for_tenant)
    assert judge_check(probe, None, NOW, sees_inside=True).addresses == ("127.0.0.1",)


async def test_http_is_a_warning() -> None:
    async with receiving(hang) as receiver, sending() as sender:
        probe = await sender.probe(receiver.url(), 10.0)
    assert results(probe) == {"dns": SKIPPED, "guard": OK, "connect": OK, "tls": WARN}
    assert probe.is_reached


async def test_the_look_goes_through_the_egress_proxy() -> None:
    tls, names = server(authority().issue_cert(HOST)), {**NAMES, "proxy.example": ["127.0.0.1"]}
    async with (
        receiving(hang, tls=tls) as receiver,
        proxying() as proxy,
        sending(names=names, tls=client(), proxy=proxy.way()) as sender,
    ):
        probe = await sender.probe(receiver.url(HOST, scheme="https"), 10.0)
    assert results(probe) == {"dns": OK, "guard": OK, "connect": OK, "tls": OK}
    assert "through the egress proxy" in told(probe, StepName.CONNECT)


@pytest.mark.parametrize("raw", [b"", b"not DER", b"\x30\x80" + bytes(64)])
async def test_a_certificate_that_cannot_be_read_is_none(raw: bytes) -> None:
    assert read_certificate(raw) is None
