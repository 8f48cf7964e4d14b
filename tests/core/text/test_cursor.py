import base64
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.text.cursor import (
    BadCursorError,
    decode_cursor,
    decode_sealed,
    encode_cursor,
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
