import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.text.cursor import (
    BadCursorError,
    PageCursor,
    decode_cursor,
    decode_page,
    decode_sealed,
    encode_cursor,
    encode_page,
    encode_sealed,
)

FULL = encode_cursor(UUID(int=2**128 - 1))


@given(st.uuids())
def test_a_cursor_is_read_as_it_was_written(last: UUID) -> None:
    text = encode_cursor(last)
    assert decode_cursor(text) == last
    assert text.isascii()
    assert text.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A",
        "AQ",
        "x" * 23,
        FULL[:-1],
        FULL + "A",
        FULL + "\n",
        " " + FULL,
        FULL[:4] + "=" + FULL[4:],
        "é" * 23,
        "00000000-0000-0000-0000-000000000000",
        base64.urlsafe_b64encode(b"\x02" + bytes(16)).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\x01" + bytes(15)).decode().rstrip("="),
        base64.urlsafe_b64encode(b"\x01" + bytes(17)).decode().rstrip("="),
    ],
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError, match=text if text.isalnum() else None):
        decode_cursor(text)


@given(st.text())
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(BadCursorError):
        decode_cursor(text)


@pytest.mark.parametrize("text", [FULL + "=", FULL[:-1] + "-", FULL.replace("_", "/")])
def test_another_spelling_of_a_cursor_is_refused(text: str) -> None:
    """Nobody but a client that builds cursors itself has one."""
    with pytest.raises(BadCursorError):
        decode_cursor(text)


@given(st.binary(min_size=1))
def test_what_is_sealed_is_read_as_it_was_written(sealed: bytes) -> None:
    text = encode_sealed(sealed)
    assert decode_sealed(text) == sealed
    with pytest.raises(BadCursorError):
        decode_cursor(text)


def test_a_plain_cursor_is_not_sealed() -> None:
    assert decode_sealed(FULL) is None
    with pytest.raises(BadCursorError):
        decode_sealed(FULL + "=")


@given(st.uuids(), st.timedeltas(timedelta(), timedelta(days=365 * 900)))
def test_a_page_keeps_when_its_list_began_in_whole_milliseconds(last: UUID, age: timedelta) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + age
    text = encode_page(last, at)
    found = decode_page(text)
    assert found.last == last
    assert found.began is not None
    assert timedelta() <= at - found.began < timedelta(milliseconds=1)
    with pytest.raises(BadCursorError):
        decode_cursor(text)


@given(st.uuids())
def test_a_page_without_a_moment_is_a_plain_cursor(last: UUID) -> None:
    assert encode_page(last, None) == encode_cursor(last)
    assert decode_page(encode_cursor(last)) == PageCursor(last, None)


@pytest.mark.parametrize(
    "raw", [b"\x03" + bytes(16), b"\x03" + bytes(23), b"\x03" + bytes(16) + b"\xff" * 6, b"\x04"]
)
def test_what_is_no_place_of_a_list_is_refused(raw: bytes) -> None:
    with pytest.raises(BadCursorError):
        decode_page(base64.urlsafe_b64encode(raw).decode().rstrip("="))
