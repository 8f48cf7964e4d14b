from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.http.http1 import MOST_BODY, MOST_HEAD, MalformedError, Reader, head
from gateway.simulator.http.messages import Request, Response

SIZED = b"POST /a%20b?c=d HTTP/1.1\r\nContent-Length: 5\r\nX-Name:  v \r\n\r\nhello"
CHUNKED = (
    b"PUT /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n"
)
BARE = b"GET / HTTP/1.0\r\n\r\n"


def read_all(pieces: list[bytes]) -> list[Request]:
    reader = Reader()
    requests: list[Request] = []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next()) is not None:
            requests.append(request)
    return requests


@given(st.sets(st.integers(1, len(SIZED + SIZED + CHUNKED) - 1)))
def test_cuts_anywhere_change_nothing(cuts: set[int]) -> None:
    whole = SIZED + SIZED + CHUNKED
    edges = [0, *sorted(cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]

    first, second, third = read_all(pieces)

    assert (first.method, first.path, first.query) == ("POST", "/a%20b", "c=d")
    assert first.headers == {"content-length": "5", "x-name": "v"}
    assert first.body == second.body == b"hello"
    assert (third.method, third.body) == ("PUT", b"hello world")


def test_old_clients_are_closed_after_one_answer() -> None:
    [request] = read_all([BARE])

    assert request.headers == {"connection": "close"}


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET / SPDY/3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1), 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_HEAD, 431),
    ],
)
def test_a_malformed_request_gets_a_status(sent: bytes, status: int) -> None:
    with pytest.raises(MalformedError) as error:
        read_all([sent])

    assert error.value.status == status


def test_a_head_lists_what_is_not_usual() -> None:
    usual = head(Response(200, b"{}"), 2)
    odd = head(Response(599, b"", "text/plain", (("Retry-After", "1"),)), 0)

    assert (
        usual == b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    assert odd.startswith(b"HTTP/1.1 599 \r\nContent-Type: text/plain\r\n")
    assert b"\r\nRetry-After: 1\r\n" in odd
