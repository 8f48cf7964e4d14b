import base64
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError as LibraryError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixError

from gateway.core.webhooks.signing import (
    Ed25519Key,
    InvalidSecretError,
    SignatureError,
    format_secret,
    jwk,
    parse_secret,
    public_bytes,
    public_key,
    sign,
    verify,
)
from gateway.webhooks import HmacKey
from gateway.webhooks import verify as receive

# The vector of the Standard Webhooks repository.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

KEY = parse_secret(SECRET)
OLD = bytes(range(32))
# The key pair of RFC 8032 section 7.1 test 1, which is also that of RFC 8037 appendix A.
SEED = Ed25519Key.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")


def text(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()


def test_the_vector_of_the_specification() -> None:
    assert sign([KEY], ID, AT, BODY) == SIGNATURE
    assert sign([bytes(KEY)], ID, AT, BODY) == SIGNATURE


def test_every_key_signs_in_order_and_one_space_apart() -> None:
    mix = sign([SEED, OLD, KEY], ID, AT, BODY)
    assert mix == " ".join([sign([SEED], ID, AT, BODY), sign([OLD], ID, AT, BODY), SIGNATURE])
    assert [entry.partition(",")[0] for entry in mix.split(" ")] == ["v1a", "v1", "v1"]
    assert sign([], ID, AT, BODY) == ""


def test_the_senders_own_keys_check_what_they_signed() -> None:
    signed = {"webhook-id": ID, "webhook-timestamp": str(AT)}
    for key in (KEY, OLD, SEED):
        verify([key], signed | {"webhook-signature": sign([key], ID, AT, BODY)}, BODY, now=AT)
    with pytest.raises(SignatureError, match="no signature matches"):
        verify([OLD], signed | {"webhook-signature": SIGNATURE}, BODY, now=AT)
    with pytest.raises(SignatureError, match="too far"):
        verify([KEY], signed | {"webhook-signature": SIGNATURE}, BODY, now=AT + 2, tolerance=1)


# --- secrets as text -------------------------------------------------------------------------------


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_as_it_was_written(raw: bytes) -> None:
    written = format_secret(raw)
    assert written.startswith("whsec_")
    assert parse_secret(written) == parse_secret(written.removeprefix("whsec_")) == raw
    assert isinstance(parse_secret(written), HmacKey)


@given(st.binary(min_size=32, max_size=32).map(Ed25519Key))
def test_a_private_key_is_read_as_it_was_written_and_alone(seed: Ed25519Key) -> None:
    written = format_secret(seed)
    assert written == text("whsk_", seed + public_bytes(seed))
    for one in (parse_secret(written), parse_secret(text("whsk_", seed))):
        assert isinstance(one, Ed25519Key)
        assert one == seed


@pytest.mark.parametrize("length", [0, 1, 23, 65, 1000])
def test_a_secret_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidSecretError, match=f"24 to 64 bytes, not {length}"):
        parse_secret(format_secret(bytes(length)))


@pytest.mark.parametrize("length", [0, 31, 65])
def test_a_private_key_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidSecretError, match=f"32 to 64 bytes, not {length}"):
        parse_secret(text("whsk_", bytes(length)))


@pytest.mark.parametrize("behind", [b"x", PUBLIC[:-1], bytes(32), PUBLIC[::-1]])
def test_a_private_key_with_the_public_key_of_another_is_refused(behind: bytes) -> None:
    """Signing with such a pair would give the private key away."""
    with pytest.raises(InvalidSecretError, match="its own public key"):
        parse_secret(text("whsk_", SEED + behind))


@pytest.mark.parametrize(
    "given",
    [
        "whsec_*",
        "whsec_" + "A" * 33,
        "whsec_" + "_-" * 16,
        "whsec_é",
        "whsk_" + "A" * 33,
        "whsk_é",
        "whpk_" + "A" * 33,
        "other_" + "A" * 32,
        SECRET + "\n",
        " " + SECRET,
    ],
)
def test_a_secret_that_is_not_base64_is_refused_without_being_told(given: str) -> None:
    with pytest.raises(InvalidSecretError, match="followed by base64") as refused:
        parse_secret(given)
    assert given.strip() not in str(refused.value)


def test_a_public_key_signs_nothing() -> None:
    with pytest.raises(InvalidSecretError, match="public and signs nothing"):
        parse_secret(public_key(SEED))


def test_keys_do_not_show_themselves() -> None:
    assert (repr(KEY), f"{SEED}") == ("HmacKey(...)", "Ed25519Key(...)")


# --- public keys -----------------------------------------------------------------------------------


def test_the_public_key_of_rfc_8032() -> None:
    assert public_bytes(SEED) == PUBLIC
    assert public_key(SEED) == public_key(bytes(SEED)) == text("whpk_", PUBLIC)
    assert public_key(format_secret(SEED)) == public_key(text("whsk_", SEED))


@pytest.mark.parametrize("given", [SECRET, KEY])
def test_a_shared_secret_has_no_public_key(given: str | bytes) -> None:
    with pytest.raises(InvalidSecretError, match="only a 'whsk_' secret has a public key"):
        public_key(given)


def test_the_thumbprint_of_rfc_8037() -> None:
    assert jwk(PUBLIC) == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        "use": "sig",
        "alg": "EdDSA",
    }


# --- other implementations -------------------------------------------------------------------------


SECRETS = st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3)
# What both can carry: the libraries decode bodies as UTF-8.
BODIES = st.builds(
    json.dumps,
    st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False)),
    ensure_ascii=st.booleans(),
)
IDS = st.text("abcdefgh0123456789_-", min_size=1)


@settings(max_examples=40)
@given(SECRETS, IDS, BODIES, st.binary(min_size=32, max_size=32), st.data())
def test_the_official_libraries_accept_our_signatures(
    secrets: list[bytes], webhook_id: str, body: str, seed: bytes, data: st.DataObject
) -> None:
    now = int(datetime.now(UTC).timestamp())
    keys = data.draw(st.permutations([*secrets, Ed25519Key(seed)]))
    signed = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(keys, webhook_id, now, body.encode()),
    }
    secret = format_secret(data.draw(st.sampled_from(secrets)))
    assert Webhook(secret).verify(body, signed) == json.loads(body)
    with pytest.raises(LibraryError):
        Webhook(secret).verify(body + " ", signed)
    SvixWebhook(secret).verify(body.encode(), signed)
    with pytest.raises(SvixError):
        SvixWebhook(secret).verify(body.encode() + b" ", signed)


@settings(max_examples=40)
@given(SECRETS, IDS, BODIES, st.integers(0, 2**33), st.data())
def test_we_accept_the_signatures_of_the_official_library(
    secrets: list[bytes], webhook_id: str, body: str, at: int, data: st.DataObject
) -> None:
    library = Webhook(format_secret(data.draw(st.sampled_from(secrets))))
    # In UTC: of other zones the library signs another instant.
    signature = library.sign(webhook_id, datetime.fromtimestamp(at, UTC), body)
    signed = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    known = [format_secret(secret) for secret in secrets]
    assert receive(body, signed, known, now=at) == json.loads(body)
    assert signature in sign(secrets, webhook_id, at, body.encode()).split(" ")
