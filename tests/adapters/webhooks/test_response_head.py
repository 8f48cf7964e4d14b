"""Heads of answers, however many there are, however long, and however the bytes are cut."""

import asyncio
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer

import pytest

from gateway.adapters.webhooks.response import WebhookResponse
from gateway.ports import Reply, SendFault
from tests.adapters.receiver import Talk, answering, read_request, receiving, send_to, sending

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
HELLO = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
TOO_MANY = "Before an answer came more than 100 interim ones."


def in_segments(*segments: bytes) -> Talk:
    """Answers with these, each of which arrives before the next is written."""

    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        for segment in segments:
            writer.write(segment)
            await asyncio.sleep(0.01 if len(segments) < 5 else 0)

    return talk


def bytewise(answer: bytes) -> list[bytes]:
    return [answer[i : i + 1] for i in range(len(answer))]


async def test_interim_heads_without_end_are_a_fault() -> None:
    fault = await send_to(answering(CONTINUE * 2500 + EMPTY))
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == ("body", TOO_MANY)


@pytest.mark.parametrize(("count", "counts"), [(3, True), (100, True), (101, False)])
async def test_a_hundred_interim_heads_are_passed_over(count: int, *, counts: bool) -> None:
    outcome = await send_to(answering(CONTINUE * count + EMPTY))
    assert isinstance(outcome, Reply if counts else SendFault)


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param([HELLO + b"!!"], id="one"),
        pytest.param([HELLO[:26], HELLO[26:] + b"!!"], id="two"),
        pytest.param([HELLO[:-7], HELLO[-7:] + b"!!"], id="between-the-line-ends"),
        pytest.param([HELLO[:-6], HELLO[-6:] + b"!!"], id="before-the-last-byte-of-the-head"),
        pytest.param([CONTINUE + HELLO[:26], HELLO[26:] + b"!!"], id="two-after-an-interim-head"),
        pytest.param([CONTINUE[:-1], CONTINUE[-1:] + HELLO + b"!!"], id="interim-head-cut"),
        pytest.param([b"\r\n\r\n" + HELLO[:26], HELLO[26:] + b"!!"], id="empty-lines-first"),
        pytest.param(
            [HELLO.replace(b"\r", b"")[:26], HELLO.replace(b"\r", b"")[26:] + b"!!"], id="bare-lf"
        ),
        pytest.param(bytewise(HELLO + b"!!"), id="bytewise"),
        pytest.param(bytewise(CONTINUE + HELLO + b"!!"), id="bytewise-after-an-interim-head"),
    ],
)
async def test_what_follows_an_answer_never_takes_it_away(segments: list[bytes]) -> None:
    reply = await send_to(in_segments(*segments))
    assert isinstance(reply, Reply)
    assert reply.status == 200
    assert b"hello".startswith(reply.body)


async def test_answers_that_follow_each_other_on_a_connection_are_each_read() -> None:
    async with (
        receiving(answering(CONTINUE + HELLO, HELLO, HELLO)) as receiver,
        sending() as sender,
    ):
        replies = [await sender.send(receiver.webhook()) for _ in range(3)]
    assert [isinstance(one, Reply) and one.body for one in replies] == [b"hello"] * 3
    assert receiver.connections == 1


async def test_a_long_header_line_is_no_fault() -> None:
    line = b"X-Long: " + b"x" * 60_000 + b"\r\n"
    reply = await send_to(answering(b"HTTP/1.1 200 OK\r\n" + line + b"Content-Length: 0\r\n\r\n"))
    assert isinstance(reply, Reply)
    assert reply.status == 200


async def test_a_head_without_end_is_a_fault() -> None:
    line = b"X-Long: " + b"x" * 60_000 + b"\r\n"
    fault = await send_to(answering(b"HTTP/1.1 200 OK\r\n" + line * 3 + b"\r\n"))
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == ("body", "The answer's head is longer than 128 KiB.")


@pytest.mark.parametrize(("count", "counts"), [(127, True), (128, False)])
async def test_a_head_may_have_many_headers_but_not_any_number(count: int, *, counts: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * count + b"Content-Length: 0\r\n\r\n"
    assert isinstance(await send_to(answering(head)), Reply if counts else SendFault)


async def test_a_header_with_a_null_byte_is_a_fault() -> None:
    fault = await send_to(answering(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == ("body", "The answer is not valid HTTP.")


async def test_any_words_may_stand_behind_the_status() -> None:
    reply = await send_to(answering(b"HTTP/1.1 200 \xfcber\x01\r\nContent-Length: 0\r\n\r\n"))
    assert isinstance(reply, Reply)
    assert reply.status == 200


async def test_a_fold_of_a_header_is_read_as_one_line() -> None:
    reply = await send_to(
        answering(b"HTTP/1.1 200 OK\r\nX: a\r\n b \t\r\nContent-Length: 0\r\n\r\n")
    )
    assert isinstance(reply, Reply)
    assert reply.headers[0] == ("x", "a b")


async def test_trailers_are_no_headers() -> None:
    body = b"2\r\nab\r\n0\r\nRetry-After: 9\r\n\r\n"
    reply = await send_to(
        answering(b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    )
    assert isinstance(reply, Reply)
    assert reply.headers == (("transfer-encoding", "chunked"),)
    assert reply.body == b"ab"


@pytest.mark.parametrize(
    ("start", "more"),
    [(b"0\r\nX: ", b"x" * 4096), (b"0\r\n", b"X: y\r\n" * 500), (b"2;a=", b"x" * 4096)],
    ids=["trailer", "trailers", "chunk-extension"],
)
async def test_what_frames_a_body_is_read_to_a_limit_and_the_status_stands(
    start: bytes, more: bytes
) -> None:
    closed = asyncio.Event()

    async def talk(reader: Reader, writer: Writer) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" + start)
        try:
            while True:
                writer.write(more)
                await writer.drain()
        except OSError:
            closed.set()

    async with receiving(talk) as receiver, sending() as sender:
        reply = await sender.send(receiver.webhook())
        await closed.wait()
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"ab")
    assert reply.seconds < 5


async def test_an_error_nobody_thought_of_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(WebhookResponse, "on_headers_complete", fail)
    fault = await send_to(answering(EMPTY))
    assert isinstance(fault, SendFault)
    assert (fault.kind, fault.detail) == (
        "body",
        "The gateway could not read the answer (ZeroDivisionError).",
    )


async def test_an_error_before_a_receiver_was_reached_is_not_laid_at_its_door() -> None:
    async def look_up(host: str, port: int) -> list[str]:
        raise ZeroDivisionError

    async with receiving() as receiver, sending(lookup=look_up) as sender:
        with pytest.raises(ZeroDivisionError):
            await sender.send(receiver.webhook(host="odd.example"))
