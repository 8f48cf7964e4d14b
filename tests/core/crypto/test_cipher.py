from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.crypto.cipher import NONCE_BYTES, AssociatedData, CannotOpenError, Cipher, Secret

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = AssociatedData("credential", "tenant-1", "row-1", 3)
NONCE = b"n" * NONCE_BYTES
CIPHER = Cipher([OLD])
SEALED = CIPHER.seal(b"the secret", PLACE, NONCE)


@given(st.binary(), st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES))
def test_what_was_sealed_opens(plain: bytes, nonce: bytes) -> None:
    sealed = CIPHER.seal(plain, PLACE, nonce)
    assert CIPHER.open(sealed, PLACE) == plain
    assert len(sealed) == 4 + 12 + len(plain) + 16
    assert len(plain) < 8 or plain not in sealed[16:]


def test_another_nonce_gives_another_text() -> None:
    assert CIPHER.seal(b"the secret", PLACE, b"m" * NONCE_BYTES)[16:] != SEALED[16:]


@pytest.mark.parametrize(
    "place",
    [
        replace(PLACE, table="signing_secret"),
        replace(PLACE, tenant="tenant-2"),
        replace(PLACE, row="row-2"),
        replace(PLACE, version=4),
        AssociatedData("credential", "tenant", "1-row-1", 3),
    ],
)
def test_a_secret_moved_elsewhere_does_not_open(place: AssociatedData) -> None:
    with pytest.raises(CannotOpenError, match=f"does not open {place.table} {place.row}"):
        CIPHER.open(SEALED, place)


def test_a_place_is_version_one_unless_told() -> None:
    assert AssociatedData("t", "a", "r") == AssociatedData("t", "a", "r", 1)
    assert (
        CIPHER.open(
            CIPHER.seal(b"s", AssociatedData("t", "a", "r"), NONCE),
            AssociatedData("t", "a", "r", 1),
        )
        == b"s"
    )


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_any_changed_byte_keeps_it_shut(place: int, change: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= change
    with pytest.raises(CannotOpenError):
        CIPHER.open(bytes(changed), PLACE)


@given(st.integers(0, len(SEALED) - 1))
def test_a_cut_secret_does_not_open(length: int) -> None:
    with pytest.raises(CannotOpenError):
        CIPHER.open(SEALED[:length], PLACE)


def test_a_longer_secret_does_not_open() -> None:
    with pytest.raises(CannotOpenError):
        CIPHER.open(SEALED + b"\0", PLACE)


def test_after_a_rotation_old_secrets_open_and_new_ones_use_the_first_key() -> None:
    rotated = Cipher([NEW, OLD])
    assert rotated.open(SEALED, PLACE) == b"the secret"
    fresh = rotated.seal(b"newer", PLACE, NONCE)
    assert Cipher([NEW]).open(fresh, PLACE) == b"newer"
    with pytest.raises(CannotOpenError):
        CIPHER.open(fresh, PLACE)


def test_a_wrong_key_is_told_apart_from_a_changed_secret() -> None:
    with pytest.raises(CannotOpenError, match="no master key opens credential row-1"):
        Cipher([NEW]).open(SEALED, PLACE)


def test_a_failure_tells_nothing_of_the_secret() -> None:
    with pytest.raises(CannotOpenError) as failed:
        CIPHER.open(SEALED, replace(PLACE, version=4))
    assert "secret" not in str(failed.value)
    assert failed.value.__suppress_context__


@pytest.mark.parametrize("keys", [[], [b""], [OLD[:31]], [OLD + b"x"], [OLD, b"short"]])
def test_a_master_key_has_32_bytes(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Cipher(keys)


def test_a_secret_is_not_shown() -> None:
    secret = Secret("hunter2")
    assert secret.value == "hunter2"
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
