import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from gateway.core.signing import (
    InvalidSecretError,
    SignatureError,
    format_secret,
    parse_secret,
    sign,
    verify,
)

# The vector of the Standard Webhooks repository.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

KEY = parse_secret(SECRET)
OLD = bytes(range(32))


def headers(**changed: str) -> dict[str, str]:
    good = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    return good | {f"webhook-{name}": value for name, value in changed.items()}


def refusal(given: dict[str, str], body: bytes = BODY, *, now: float = AT, key: bytes = KEY) -> str:
    with pytest.raises(SignatureError) as refused:
        verify([key], given, body, now=now)
    return str(refused.value)


def test_the_vector_of_the_specification() -> None:
    assert sign([KEY], ID, AT, BODY) == SIGNATURE
    verify([KEY], headers(), BODY, now=AT)


def test_every_secret_signs_in_order_and_one_space_apart() -> None:
    both = sign([OLD, KEY], ID, AT, BODY)
    assert both == f"{sign([OLD], ID, AT, BODY)} {SIGNATURE}"
    assert sign([], ID, AT, BODY) == ""


def test_any_known_secret_proves_any_entry() -> None:
    signed = headers(signature=sign([OLD, KEY], ID, AT, BODY))
    verify([KEY], signed, BODY, now=AT)
    verify([b"another" * 5, OLD], signed, BODY, now=AT)
    verify([b"another" * 5, KEY], headers(), BODY, now=AT)


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (headers(), BODY + b" "),
        (headers(), b""),
        (headers(id=ID + "x"), BODY),
        (headers(timestamp=str(AT + 1)), BODY),
        (headers(signature=SIGNATURE[:-2] + "F="), BODY),
        (headers(signature=SIGNATURE.removeprefix("v1,")), BODY),
        (headers(signature=SIGNATURE.replace("v1,", "v1a,")), BODY),
        (headers(signature=SIGNATURE.replace("v1,", "v2,")), BODY),
        (headers(signature=SIGNATURE.lower()), BODY),
        (headers(signature=SIGNATURE + ",v1"), BODY),
        (headers(signature=""), BODY),
        (headers(signature="v1,"), BODY),
        (headers(signature="v1,é ü"), BODY),
    ],
)
def test_whatever_was_changed_is_refused(given: dict[str, str], body: bytes) -> None:
    assert refusal(given, body) == "no signature matches a known secret"


def test_nothing_verifies_without_a_secret() -> None:
    with pytest.raises(SignatureError, match="no signature"):
        verify([], headers(), BODY, now=AT)


@pytest.mark.parametrize(
    "signature",
    [
        f"v1a,xyz {SIGNATURE}",
        f"nonsense {SIGNATURE}",
        f"v1,a,b {SIGNATURE}",
        f"v1,***  {SIGNATURE} ",
        f"v1,é {SIGNATURE}",
        f"{SIGNATURE} {SIGNATURE}",
    ],
)
def test_a_good_entry_counts_whatever_stands_beside_it(signature: str) -> None:
    verify([KEY], headers(signature=signature), BODY, now=AT)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(name: str) -> None:
    given = headers()
    del given[name]
    assert refusal(given) == f"header {name} is missing"


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "nan",
        "inf",
        ".9",
        f"{AT}.9",
        f"-{AT}",
        f"+{AT}",
        f" {AT}",
        "1e9",
        "0x10",
        "1_0",
        "²",
        "\u0661",
        "9" * 13,
        "9" * 5000,
    ],
)
def test_a_timestamp_is_whole_seconds_in_ascii_digits(stamp: str) -> None:
    assert refusal(headers(timestamp=stamp)) == "webhook-timestamp is not whole seconds"


@pytest.mark.parametrize("away", [301.0, -301.0, 300.001, 1e12, -1e12, float("inf")])
def test_a_timestamp_far_from_the_present_is_refused(away: float) -> None:
    assert "too far from the present" in refusal(headers(), now=AT + away)


@pytest.mark.parametrize("away", [300.0, -300.0, 0.5])
def test_a_timestamp_within_the_tolerance_is_taken(away: float) -> None:
    verify([KEY], headers(), BODY, now=AT + away)


def test_the_tolerance_can_be_given() -> None:
    verify([KEY], headers(), BODY, now=AT + 10, tolerance=10)
    with pytest.raises(SignatureError, match="too far"):
        verify([KEY], headers(), BODY, now=AT + 11, tolerance=10)


@pytest.mark.parametrize("changed", [{"id": "a\udcff"}, {"signature": "v1,\udcff"}])
def test_bytes_that_are_no_utf8_in_a_header_are_refused_and_not_a_crash(
    changed: dict[str, str],
) -> None:
    """Servers such as aiohttp hand such bytes on as lone surrogates."""
    assert refusal(headers(**changed)) == "no signature matches a known secret"


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_is_read_as_it_was_written(raw: bytes) -> None:
    text = format_secret(raw)
    assert text.startswith("whsec_")
    assert parse_secret(text) == raw


@pytest.mark.parametrize("length", [0, 1, 23, 65, 1000])
def test_a_secret_of_a_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidSecretError, match=f"24 to 64 bytes, not {length}"):
        parse_secret(format_secret(bytes(length)))


@pytest.mark.parametrize(
    "text",
    [
        "whsec_*",
        "whsec_" + "A" * 33,
        "whsec_" + "_-" * 16,
        "whsec_é",
        "whsk_" + "A" * 32,
        SECRET + "\n",
        " " + SECRET,
    ],
)
def test_a_secret_that_is_not_base64_is_refused_without_being_told(text: str) -> None:
    with pytest.raises(InvalidSecretError) as refused:
        parse_secret(text)
    assert text.strip() not in str(refused.value)


SECRETS = st.lists(st.binary(min_size=24, max_size=64), min_size=1, max_size=3)
# What both can carry: the library decodes bodies as UTF-8.
BODIES = st.text(st.characters(exclude_categories=["Cs"])).map(str.encode)
IDS = st.text("abcdefgh0123456789_-", min_size=1)


@settings(max_examples=40)
@given(SECRETS, IDS, BODIES, st.data())
def test_the_official_library_accepts_our_signatures(
    secrets: list[bytes], webhook_id: str, body: bytes, data: st.DataObject
) -> None:
    now = int(datetime.now(UTC).timestamp())
    signed = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secrets, webhook_id, now, body),
    }
    library = Webhook(format_secret(data.draw(st.sampled_from(secrets))))
    # Its verify ends with json.loads, which is not what is tested here.
    quoted = b'"' + base64.b64encode(body) + b'"'
    signed["webhook-signature"] = sign(secrets, webhook_id, now, quoted)
    assert library.verify(quoted, signed) == base64.b64encode(body).decode()
    with pytest.raises(WebhookVerificationError):
        library.verify(quoted[:-1] + b' "', signed)


@settings(max_examples=40)
@given(SECRETS, IDS, BODIES, st.integers(0, 2**33), st.data())
def test_we_accept_the_signatures_of_the_official_library(
    secrets: list[bytes], webhook_id: str, body: bytes, at: int, data: st.DataObject
) -> None:
    library = Webhook(format_secret(data.draw(st.sampled_from(secrets))))
    signature = library.sign(webhook_id, datetime.fromtimestamp(at, UTC), body.decode())
    signed = {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    verify(secrets, signed, body, now=at)
    assert signature in sign(secrets, webhook_id, at, body).split(" ")
