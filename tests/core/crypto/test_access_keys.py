import hashlib
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.crypto.access_keys import (
    KEY_ID_BYTES,
    SECRET_BYTES,
    make_key,
    parse_key,
    same_digest,
)

KEY = make_key(bytes(range(8)), bytes(range(32)))
IDS = st.binary(min_size=KEY_ID_BYTES, max_size=KEY_ID_BYTES)
SECRETS = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@given(IDS, SECRETS)
def test_a_key_is_read_as_it_was_made(key_id: bytes, secret: bytes) -> None:
    key = make_key(key_id, secret)
    assert re.fullmatch(r"jgw_[0-9a-f]{16}_[0-9A-Za-z]{49}", key.text)
    parsed = parse_key(key.text)
    assert parsed is not None
    assert parsed.key_id == key.key_id == key_id.hex()
    assert same_digest(key.digest, parsed.digest)


@given(SECRETS, SECRETS)
def test_different_secrets_make_different_keys(one: bytes, other: bytes) -> None:
    first, second = make_key(bytes(8), one), make_key(bytes(8), other)
    assert (first.text == second.text) == (one == other) == same_digest(first.digest, second.digest)


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32])
def test_no_secret_is_cut(secret: bytes) -> None:
    number = 0
    for digit in make_key(bytes(8), secret).text[21:-6]:
        number = number * 62 + ALPHABET.index(digit)
    assert number == int.from_bytes(secret)


def test_the_digest_is_the_sha256_of_the_whole_key() -> None:
    assert KEY.digest == hashlib.sha256(KEY.text.encode()).digest()


def signed(body: str) -> str:
    """A text with the checksum that it must have."""
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = ALPHABET[digit] + digits
    return body + digits


def test_the_checksum_is_the_crc32_of_what_stands_before_it() -> None:
    assert signed(KEY.text[:-6]) == KEY.text


@pytest.mark.parametrize("body", [KEY.text, KEY.text[:-7], "x" + KEY.text[:-6], KEY.text + "\n"])
def test_a_good_checksum_alone_makes_no_key(body: str) -> None:
    assert parse_key(signed(body)) is None


@given(st.integers(0, len(KEY.text) - 1), st.sampled_from(ALPHABET + "_-é"))
def test_a_mistyped_key_is_none_of_ours(place: int, typed: str) -> None:
    text = KEY.text[:place] + typed + KEY.text[place + 1 :]
    assert (parse_key(text) is None) == (text != KEY.text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.text[:-1],
        KEY.text + "0",
        KEY.text + "\n",
        " " + KEY.text,
        KEY.text.upper(),
        KEY.text.replace("jgw_", "jgx_"),
        KEY.text.replace("_", "-"),
        KEY.text.translate({ord("0"): "\u0660"}),
        "jgw_" + "0" * 16 + "_" + "0" * 49,
        "Bearer " + KEY.text,
    ],
)
def test_what_cannot_be_a_key_is_refused(text: str) -> None:
    assert parse_key(text) is None


@given(st.text())
def test_no_text_is_a_key_by_chance(text: str) -> None:
    assert parse_key(text) is None


def test_digests_are_told_apart() -> None:
    assert same_digest(b"a" * 32, b"a" * 32)
    assert not same_digest(b"a" * 32, b"a" * 31 + b"b")
    assert not same_digest(b"a" * 32, b"")
