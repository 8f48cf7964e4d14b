"""The receiver's side: what is accepted, what is refused and why, and what it needs."""

import base64
import json
import subprocess
import sys
import time
from contextlib import suppress
from email.message import Message
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.webhooks import WebhookVerificationError, hmac_entry, read_key, verify

# The vector of the Standard Webhooks repository.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
EVENT = {"test": 2432232314}

OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()
STRANGER = (
    "whpk_"
    + base64.b64encode(
        Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes_raw()
    ).decode()
)
SIGNED = f"{ID}.{AT}.".encode() + BODY
ASYMMETRIC = "v1a," + base64.b64encode(PRIVATE.sign(SIGNED)).decode()
UNMATCHED = "no signature matches a known secret"


def headers(**changed: str) -> dict[str, str]:
    good = {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
    return good | {f"webhook-{name}": value for name, value in changed.items()}


def refusal(given: Any, body: Any = BODY, secrets: Any = SECRET, *, now: float = AT) -> str:
    with pytest.raises(WebhookVerificationError) as refused:
        verify(body, given, secrets, now=now)
    return str(refused.value)


def test_the_vector_of_the_specification() -> None:
    assert verify(BODY, headers(), SECRET, now=AT) == EVENT


# --- secrets and signatures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "secrets"),
    [
        (SIGNATURE, SECRET.removeprefix("whsec_")),
        (SIGNATURE, [OTHER, SECRET]),
        (SIGNATURE, (SECRET, PUBLIC)),
        (f"{ASYMMETRIC} {SIGNATURE}", [OTHER, SECRET]),
        (f"v1,AAAA {SIGNATURE} v1,BBBB", [OTHER, SECRET]),
        (ASYMMETRIC, PUBLIC),
        (ASYMMETRIC, [SECRET, STRANGER, PUBLIC]),
        (f"{SIGNATURE} {ASYMMETRIC}", [OTHER, PUBLIC]),
        (f"v1a,AAAA v1a,*** v1a,é {ASYMMETRIC}", [STRANGER, PUBLIC]),
        (f"v1a,{'A' * 86}== {ASYMMETRIC}", PUBLIC),
    ],
)
def test_any_known_secret_proves_any_entry(signature: str, secrets: str | list[str]) -> None:
    assert verify(BODY, headers(signature=signature), secrets, now=AT) == EVENT


@pytest.mark.parametrize(
    "beside", ["v1a,xyz", "nonsense", "v1,a,b", "v1,*** ", "v1,é", "v2,x", "", SIGNATURE]
)
def test_a_good_entry_counts_whatever_stands_beside_it(beside: str) -> None:
    for signature in (f"{beside} {SIGNATURE}", f"{SIGNATURE} {beside}"):
        assert verify(BODY, headers(signature=signature), [SECRET, PUBLIC], now=AT) == EVENT


@pytest.mark.parametrize(
    ("given", "body"),
    [
        (headers(), BODY + b" "),
        (headers(), b""),
        (headers(id=ID + "x"), BODY),
        (headers(id=ID + "é"), BODY),
        (headers(id=""), BODY),
        (headers(timestamp=str(AT + 1)), BODY),
        (headers(timestamp=f"0{AT}"), BODY),
        (headers(signature=SIGNATURE[:-2] + "F="), BODY),
        (headers(signature=SIGNATURE.lower()), BODY),
        (headers(signature=SIGNATURE + ",v1"), BODY),
        (headers(signature="v1,"), BODY),
        (headers(signature="v1"), BODY),
        (headers(signature="v1,é ü"), BODY),
        # Servers such as aiohttp hand bytes that are no UTF-8 on as lone surrogates.
        (headers(id="a\udcff"), BODY),
        (headers(signature="v1,\udcff"), BODY),
    ],
)
def test_whatever_was_changed_is_refused(given: dict[str, str], body: bytes) -> None:
    assert refusal(given, body) == UNMATCHED


@pytest.mark.parametrize(
    ("signature", "secrets", "wanted"),
    [
        (SIGNATURE.replace("v1,", "v2,"), SECRET, "v1"),
        (SIGNATURE.removeprefix("v1,"), SECRET, "v1"),
        ("", SECRET, "v1"),
        (ASYMMETRIC, [SECRET, OTHER], "v1"),
        (SIGNATURE, PUBLIC, "v1a"),
        ("v3,x", [PUBLIC, SECRET], "v1 or v1a"),
    ],
)
def test_a_header_without_the_version_that_is_known_is_told(
    signature: str, secrets: str | list[str], wanted: str
) -> None:
    told = refusal(headers(signature=signature), secrets=secrets)
    assert told == f"webhook-signature has no entry of version {wanted}"


@pytest.mark.parametrize("signature", [ASYMMETRIC[:-3] + "h==", "v1a," + "A" * 86 + "==", "v1a,"])
def test_a_public_key_refuses_what_its_private_key_did_not_sign(signature: str) -> None:
    assert refusal(headers(signature=signature), secrets=[PUBLIC, SECRET]) == UNMATCHED
    assert refusal(headers(signature=ASYMMETRIC), secrets=STRANGER) == UNMATCHED
    assert refusal(headers(signature=ASYMMETRIC), BODY + b" ", PUBLIC) == UNMATCHED


def test_stray_last_bits_of_base64_are_refused() -> None:
    """The same 64 bytes, written otherwise."""
    stray = ASYMMETRIC[:-3] + chr(ord(ASYMMETRIC[-3]) + 1) + "=="
    assert base64.b64decode(stray[4:]) == base64.b64decode(ASYMMETRIC[4:])
    assert refusal(headers(signature=stray), secrets=PUBLIC) == UNMATCHED


def test_nobody_makes_us_check_signatures_without_end() -> None:
    filler = ["v1a," + "A" * 86 + "=="] * 49
    assert verify(BODY, headers(signature=" ".join([*filler, ASYMMETRIC])), PUBLIC, now=AT)
    told = refusal(headers(signature=" ".join([*filler, "x", ASYMMETRIC])), secrets=PUBLIC)
    assert told == "webhook-signature has more than 50 entries"


@pytest.mark.parametrize(
    ("secrets", "reason"),
    [
        ([], "no secret was given to check with"),
        ("", "a signing secret holds 24 to 64 bytes, not 0"),
        ("whsec_AAAA", "a signing secret holds 24 to 64 bytes, not 3"),
        (SECRET + "\n", "a signing secret is 'whsec_' followed by base64"),
        ([SECRET, "whsec_é"], "a signing secret is 'whsec_' followed by base64"),
        ([SECRET, "whpk_AAAA"], "a 'whpk_' key holds 32 bytes, not 3"),
        ("whpk_*", "a 'whpk_' key is 'whpk_' followed by base64"),
        ("whsk_" + "A" * 43 + "=", "'whsk_' is the sender's; a receiver checks with 'whpk_'"),
        (SECRET.encode(), "a secret is text that begins with 'whsec_' or 'whpk_'"),
        ([None], "a secret is text that begins with 'whsec_' or 'whpk_'"),
        ([SECRET, None], "a secret is text that begins with 'whsec_' or 'whpk_'"),
        (None, "the secrets are NoneType: give one as text, or several in a list"),
        (5, "the secrets are int: give one as text, or several in a list"),
        (object(), "the secrets are object: give one as text, or several in a list"),
    ],
)
def test_a_secret_that_cannot_check_is_refused_and_not_told(secrets: Any, reason: str) -> None:
    assert refusal(headers(), secrets=secrets) == reason


def test_a_key_does_not_show_itself() -> None:
    key = read_key(SECRET)
    assert f"{key} {key!r}" == "HmacKey(...) HmacKey(...)"


# --- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stamp",
    [
        "",
        "nan",
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


@pytest.mark.parametrize("away", [301.0, -301.0, 300.001, 1e12, -1e12, float("inf"), float("nan")])
def test_a_timestamp_far_from_the_present_is_refused(away: float) -> None:
    assert refusal(headers(), now=AT + away) == "webhook-timestamp is too far from the present"


@pytest.mark.parametrize("away", [300.0, -300.0, 0.5])
def test_a_timestamp_within_the_tolerance_is_taken(away: float) -> None:
    assert verify(BODY, headers(), SECRET, now=AT + away) == EVENT


def test_the_tolerance_can_be_given() -> None:
    verify(BODY, headers(), SECRET, now=AT + 10, tolerance=10)
    with pytest.raises(WebhookVerificationError, match="too far"):
        verify(BODY, headers(), SECRET, now=AT + 11, tolerance=10)


@pytest.mark.parametrize("wrong", [None, "300", b"", [], AT + 0j])
def test_a_tolerance_that_is_no_number_is_refused(wrong: Any) -> None:
    with pytest.raises(WebhookVerificationError) as refused:
        verify(BODY, headers(), SECRET, now=AT, tolerance=wrong)
    kind = type(wrong).__name__
    assert str(refused.value) == f"the tolerance is {kind}: give seconds as a number"


@pytest.mark.parametrize("wrong", ["x", b"", [], AT + 0j])
def test_a_present_that_is_no_number_is_refused(wrong: Any) -> None:
    told = refusal(headers(), now=wrong)
    assert told == f"the present is {type(wrong).__name__}: give seconds as a number"


def test_the_present_is_now() -> None:
    stamp = str(int(time.time()))
    signature = hmac_entry(read_key(SECRET), f"{ID}.{stamp}.".encode() + BODY).decode()
    assert verify(BODY, headers(timestamp=stamp, signature=signature), SECRET) == EVENT
    with pytest.raises(WebhookVerificationError, match="too far"):
        verify(BODY, headers(), SECRET)


# --- headers and bodies as they come ---------------------------------------------------------------


def email_message() -> Message:
    message = Message()
    for name, value in headers().items():
        message[name.upper()] = value
    return message


@pytest.mark.parametrize(
    "given",
    [
        {name.title(): value for name, value in headers().items()} | {"X": "y"},
        list(headers().items()),
        [(name.upper().encode(), value.encode()) for name, value in headers().items()],
        httpx.Headers(headers()),
        CIMultiDict(headers()),
        email_message(),
        [(b"\xff", b"\xff"), (1, 2), *headers().items()],
    ],
    ids=["capitals", "pairs", "bytes", "httpx", "aiohttp", "http.server", "strange names"],
)
def test_headers_are_taken_in_any_form(given: Any) -> None:
    assert verify(BODY, given, SECRET, now=AT) == EVENT


@pytest.mark.parametrize("body", [BODY.decode(), bytearray(BODY), memoryview(BODY)])
def test_the_body_is_taken_as_text_and_as_any_bytes(body: Any) -> None:
    assert verify(body, headers(), SECRET, now=AT) == EVENT


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_and_a_repeated_header_are_named(name: str) -> None:
    given = headers()
    again = [*given.items(), (name.title(), given[name])]
    assert refusal(again) == f"header {name} is there more than once"
    del given[name]
    assert refusal(given) == f"header {name} is missing"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "the headers are neither a mapping nor pairs of name and value"),
        (7, "the headers are neither a mapping nor pairs of name and value"),
        (dict, "the headers are neither a mapping nor pairs of name and value"),
        ([("a", "b", "c")], "the headers are neither a mapping nor pairs of name and value"),
        (
            headers() | {"webhook-id": ["x"]},
            "header webhook-id is list: give the bytes or text that arrived",
        ),
        (headers(id="\ud800"), "header webhook-id holds what no request can carry"),
    ],
)
def test_headers_that_are_none_are_refused(given: Any, reason: str) -> None:
    assert refusal(given) == reason


def released() -> memoryview:
    view = memoryview(BODY)
    view.release()
    return view


class Broken:
    """Fails as soon as it is looked into."""

    @property
    def items(self) -> Any:
        raise RuntimeError

    def __iter__(self) -> Any:
        raise RuntimeError


class BrokenItems:
    """A mapping whose items fail when they are asked for."""

    def items(self) -> Any:
        raise RuntimeError


@pytest.mark.parametrize("given", [Broken(), BrokenItems(), (1 // 0 for _ in "x")])
def test_headers_and_secrets_that_cannot_be_read_are_refused(given: Any) -> None:
    assert refusal(given) == "the headers are neither a mapping nor pairs of name and value"
    assert "secret" in refusal(headers(), secrets=Broken())


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (EVENT, "the body is dict: give the bytes or text that arrived"),
        (None, "the body is NoneType: give the bytes or text that arrived"),
        ("\ud800", "the body holds what no request can carry"),
        (released(), "the body holds what no request can carry"),
    ],
)
def test_a_body_that_was_parsed_is_refused(body: Any, reason: str) -> None:
    assert refusal(headers(), body) == reason


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"7", b"\xff", b"{", b'{"a":' * 100_000, b'{"a":' + b"1" * 5000 + b"}"]
)
def test_a_signed_body_that_is_no_object_is_refused(body: bytes) -> None:
    signature = hmac_entry(read_key(SECRET), f"{ID}.{AT}.".encode() + body).decode()
    told = refusal(headers(signature=signature), body)
    assert told == "the signature is good, but the body is no JSON object"


# --- whatever a stranger sends ---------------------------------------------------------------------


@settings(max_examples=150)
@given(st.sampled_from(["id", "timestamp", "signature", "body"]), st.booleans(), st.data())
def test_no_byte_can_be_changed(part: str, asymmetric: bool, data: st.DataObject) -> None:
    parts = {
        "id": ID.encode(),
        "timestamp": str(AT).encode(),
        "signature": (ASYMMETRIC if asymmetric else SIGNATURE).encode(),
        "body": BODY,
    }
    place = data.draw(st.integers(0, len(parts[part]) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda one: one != parts[part][place]))
    parts[part] = parts[part][:place] + bytes([byte]) + parts[part][place + 1 :]
    given = [(f"webhook-{name}", value) for name, value in parts.items() if name != "body"]
    with pytest.raises(WebhookVerificationError):
        verify(parts["body"], given, [SECRET, PUBLIC], now=AT)


ANY_TEXT = st.text() | st.text(st.characters()) | st.binary()
ENTRIES = st.lists(
    st.text("v1a,=AZ+/ ", max_size=100) | st.just(SIGNATURE) | st.just(ASYMMETRIC) | st.text()
).map(" ".join)
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "webhook-id": ANY_TEXT | st.just(ID),
        "webhook-timestamp": st.integers().map(str) | st.just(str(AT)) | ANY_TEXT,
        "webhook-signature": ENTRIES | ANY_TEXT,
    },
)
PAIRS = st.lists(
    st.tuples(st.sampled_from(list(headers())) | ANY_TEXT, ANY_TEXT | ENTRIES | st.none())
)
SECRETS = st.lists(ANY_TEXT | st.sampled_from([SECRET, OTHER, PUBLIC, STRANGER]), max_size=3)


@settings(max_examples=300)
@given(ANY_TEXT | st.just(BODY), GIVEN | PAIRS, SECRETS | st.just([SECRET, PUBLIC]))
def test_nothing_else_is_ever_raised(body: Any, given: Any, secrets: Any) -> None:
    with suppress(WebhookVerificationError):
        assert verify(body, given, secrets, now=AT) == EVENT


# --- what it needs ---------------------------------------------------------------------------------

_ALONE = """
import sys
sys.path.insert(0, sys.argv[1])
from gateway.webhooks import WebhookVerificationError, verify
id, stamp, v1, v1a, secret, public, body = sys.argv[2:]
headers = {"Webhook-Id": id, "Webhook-Timestamp": stamp, "Webhook-Signature": v1a + " " + v1}
print(verify(body, headers, [public, secret], now=int(stamp)))
try:
    verify(body, headers, public, now=int(stamp))
except WebhookVerificationError as error:
    print(error)
foreign = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
print(sorted(foreign))
"""


def test_it_needs_nothing_but_python() -> None:
    """Without site-packages (-S) there is nothing else to be had."""
    told = [ID, str(AT), SIGNATURE, ASYMMETRIC, SECRET, PUBLIC, BODY.decode()]
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _ALONE, Path(__file__).parent.parent, *told],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str(json.loads(BODY)),
        "v1a signatures need the package 'cryptography', which is not installed",
        "['__main__', 'gateway']",
    ]
