import asyncio
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest
import trustme

from gateway.adapters.tls import trusted_authorities
from gateway.ports import Reply, SendFault
from tests.adapters.receiver import OK, Talk, answering, receiving, sending

NAMES = {"receiver.example": ["127.0.0.1"]}


@cache
def authority() -> trustme.CA:
    return trustme.CA()


def server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@cache
def client() -> ssl.SSLContext:
    context = trusted_authorities()
    authority().configure_trust(context)
    return context


async def send_over(tls: ssl.SSLContext | None, timeout: float = 10.0) -> Reply | SendFault:
    async with (
        receiving(tls=tls) as receiver,
        sending(names=NAMES, tls=client(), timeout=timeout) as sender,
    ):
        return await sender.send(receiver.webhook(host="receiver.example", scheme="https"))


async def test_a_good_certificate_is_accepted_and_each_phase_timed() -> None:
    reply = await send_over(server(authority().issue_cert("receiver.example")))
    assert isinstance(reply, Reply)
    assert reply.status == 200
    phases = (reply.timings.dns, reply.timings.connect, reply.timings.tls, reply.timings.first_byte)
    assert all(phase is not None for phase in phases)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        pytest.param(
            lambda: trustme.CA().issue_cert("receiver.example"), "issuer", id="unknown-authority"
        ),
        pytest.param(lambda: authority().issue_cert("other.example"), "mismatch", id="other-host"),
        pytest.param(
            lambda: authority().issue_cert(
                "receiver.example", not_after=datetime(2020, 1, 1, tzinfo=UTC)
            ),
            "expired",
            id="expired",
        ),
    ],
)
async def test_a_bad_certificate_is_a_tls_fault(
    certificate: Callable[[], trustme.LeafCert], reason: str
) -> None:
    fault = await send_over(server(certificate()))
    assert isinstance(fault, SendFault)
    assert fault.kind == "tls"
    assert reason in fault.detail


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_a_tls_fault() -> None:
    old = server(authority().issue_cert("receiver.example"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    fault = await send_over(old)
    assert isinstance(fault, SendFault)
    assert fault.kind == "tls"


async def say_http(reader: Reader, writer: Writer) -> None:
    await reader.read(1)
    writer.write(OK)


async def hang_up(reader: Reader, writer: Writer) -> None:
    await reader.read(1)


@pytest.mark.parametrize("talk", [say_http, hang_up])
async def test_a_receiver_without_tls_is_a_tls_fault(talk: Talk) -> None:
    async with receiving(talk) as receiver, sending(names=NAMES) as sender:
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "tls"


async def test_a_handshake_that_stalls_is_a_timeout() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await asyncio.Event().wait()

    async with receiving(talk) as receiver, sending(names=NAMES, timeout=0.4) as sender:
        fault = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("The TLS handshake did not end")


async def test_tls_connections_are_kept() -> None:
    tls = server(authority().issue_cert("receiver.example"))
    async with (
        receiving(answering(OK, OK), tls=tls) as receiver,
        sending(names=NAMES, tls=client()) as sender,
    ):
        for _ in range(2):
            reply = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
            assert isinstance(reply, Reply)
    assert receiver.connections == 1


async def test_a_private_authority_is_trusted_by_ssl_cert_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority().cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tls = server(authority().issue_cert("receiver.example"))
    async with (
        receiving(tls=tls) as receiver,
        sending(names=NAMES, tls=trusted_authorities()) as sender,
    ):
        reply = await sender.send(receiver.webhook(host="receiver.example", scheme="https"))
    assert isinstance(reply, Reply)
