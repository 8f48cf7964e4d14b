"""Responses of receivers, valid and invalid."""

import asyncio
import gzip
import zlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.webhooks.response import MAX_KEPT, MAX_READ
from gateway.ports import Reply, SendFault
from tests.adapters.receiver import (
    Talk,
    answering,
    hang,
    read_request,
    receiving,
    reset,
    send_to,
    sending,
)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", id="no-content"),
        pytest.param(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", 410, b"", id="gone"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\nto the end", 200, b"to the end", id="http-1.0"),
        pytest.param(
            b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            200,
            b"x",
            id="informational-first",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            200,
            b"ab",
            id="chunked",
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", 200, b"ab", id="cut-short"),
        pytest.param(
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nOK", 204, b"", id="none-expected"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200, b"", id="junk"
        ),
        pytest.param(
            b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 204 None\r\n\r\nOK",
            204,
            b"",
            id="informational-and-none-expected",
        ),
    ],
)
async def test_the_status_decides_whatever_becomes_of_the_body(
    answer: bytes, status: int, body: bytes
) -> None:
    reply = await send_to(answering(answer))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (status, body)


@pytest.mark.parametrize(
    "end", [reset, lambda writer: writer.write(b"zz\r\n")], ids=["reset", "junk"]
)
async def test_a_body_that_breaks_leaves_the_status_standing(end: Callable[[Writer], None]) -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await asyncio.sleep(0.2)  # the sender has the head before the body breaks
        end(writer)

    reply = await send_to(talk, timeout=1.0)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (500, b"ab")


async def test_a_drip_fed_body_ends_at_the_deadline() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    reply = await send_to(talk, timeout=0.4)
    assert isinstance(reply, Reply)
    assert set(reply.body) == set(b"x")


async def test_an_endless_body_is_read_to_the_limit_and_cut() -> None:
    closed = asyncio.Event()
    written = 0

    async def talk(reader: Reader, writer: Writer) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"y" * 4096)
                await writer.drain()
                written += 4096
        except OSError:
            closed.set()

    async with receiving(talk) as receiver, sending() as sender:
        reply = await sender.send(receiver.webhook())
        await closed.wait()
    assert isinstance(reply, Reply)
    assert reply.body == b"y" * MAX_KEPT
    assert written < 32_000_000  # the limit, and what the sockets of this machine take in


async def test_a_long_body_with_a_length_is_cut_too() -> None:
    size = MAX_READ * 3
    answer = b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n" % size + b"z" * size
    reply = await send_to(answering(answer))
    assert isinstance(reply, Reply)
    assert (reply.status, len(reply.body)) == (404, MAX_KEPT)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [(b"gzip", gzip.compress(bytes(8_000_000))), (b"deflate", zlib.compress(b"a" * 99))],
    ids=["gzip", "deflate"],
)
async def test_a_compressed_body_stays_compressed(encoding: bytes, bomb: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n"
    reply = await send_to(answering(head % (encoding, len(bomb)) + bomb))
    assert isinstance(reply, Reply)
    assert reply.body == bomb[:MAX_KEPT]


async def test_an_answer_before_the_body_was_taken_counts() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.Event().wait()

    reply = await send_to(talk, body=bytes(20_000_000))
    assert isinstance(reply, Reply)
    assert reply.status == 413


async def test_kept_headers_are_bounded() -> None:
    many = b"".join(b"X-%d: %s\r\n" % (i, b"v" * 1000) for i in range(40))
    reply = await send_to(answering(b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 0\r\n\r\n"))
    assert isinstance(reply, Reply)
    assert 0 < sum(len(name) + len(value) for name, value in reply.headers) <= MAX_KEPT


async def drip_headers(reader: Reader, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.01)


async def inform_slowly(reader: Reader, writer: Writer) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("talk", [hang, drip_headers, inform_slowly])
async def test_no_answer_by_the_deadline_is_a_timeout(talk: Talk) -> None:
    fault = await send_to(talk, timeout=0.4)
    assert isinstance(fault, SendFault)
    assert fault.kind == "timeout"
    assert fault.detail.startswith("No answer came within")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", id="long-header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 9000 + b"\r\n", id="many-headers"),
        pytest.param(b"HTTP/1.1 200 " + b"O" * 1_000_000 + b"\r\n\r\n", id="long-status-line"),
        pytest.param(b"SSH-2.0-OpenSSH_9\r\n", id="not-http"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status-of-four-digits"),
        pytest.param(b"HTTP/1.1 000 Odd\r\nContent-Length: 0\r\n\r\n", id="status-000"),
        pytest.param(b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n", id="status-099"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", id="negative-length"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
            id="two-lengths",
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="length-and-chunks",
        ),
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: y\r\n", id="half-a-head"),
    ],
)
async def test_an_answer_that_is_not_http_is_a_body_fault(answer: bytes) -> None:
    fault = await send_to(answering(answer))
    assert isinstance(fault, SendFault)
    assert fault.kind == "body"


async def test_a_reset_after_the_request_is_a_body_fault() -> None:
    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        reset(writer)

    fault = await send_to(talk)
    assert isinstance(fault, SendFault)
    assert fault.kind == "body"
    assert fault.detail == "The connection was closed before an answer came."


PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 101 Switching\r\n",
    b"\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: upgrade\r\nUpgrade: x\r\n",
    b"Set-Cookie: a\r\n",
    b"Content-Type: \xff\r\n",
    b"Location: http://[\r\n",
]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(PIECES),
        ),
        max_size=12,
    )
)
def test_no_answer_makes_it_raise(pieces: list[bytes]) -> None:
    outcome = asyncio.run(send_to(answering(b"".join(pieces)), timeout=2.0))
    assert isinstance(outcome, Reply | SendFault)
