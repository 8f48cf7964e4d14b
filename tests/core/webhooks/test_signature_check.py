"""The signature checker names what differs from what was sent."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.core.webhooks.signature_check import SentWebhook, check_signature, read_headers
from gateway.core.webhooks.signing import HmacKey, format_secret, sign

NOW = 1_800_000_000
KEY, OTHER = HmacKey(b"k" * 32), HmacKey(b"o" * 32)
SECRET = format_secret(KEY)
BODY = '{"type":"job.failed","data":{"name":"Ünter \\u00e4","n":1.50}}'


def sent(number: int = 1, at: int = NOW, key: HmacKey = KEY, body: str = BODY) -> SentWebhook:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": sign([key], "msg_1", at, body.encode()),
    }
    return SentWebhook(number, headers, body)


ONE, TWO = sent(), sent(2, NOW + 60)


def found(
    headers: Mapping[str, str] | None = None,
    body: str = BODY,
    secret: str = SECRET,
    known: Any = (ONE, TWO),
    now: float = NOW + 61,
) -> dict[str, str]:
    """The looks of the findings by what they are about."""
    given = ONE.headers if headers is None else headers
    return {one.about: one.look for one in check_signature(given, body, secret, known, now)}


def test_a_right_request_is_right() -> None:
    assert found() == {"signature": "good", "timestamp": "good"}
    assert found(known=()) == {"signature": "good", "timestamp": "good"}


@pytest.mark.parametrize("away", [-301, 361 + 1])
def test_a_clock_that_is_off_is_told(away: int) -> None:
    assert found(now=NOW + away) == {"signature": "good", "timestamp": "needs"}


@pytest.mark.parametrize("known", [(), (ONE, TWO)])
@pytest.mark.parametrize(
    "body",
    [
        f"{BODY}\n",
        f" {BODY}",
        json.dumps({"type": "x"}),
        BODY.replace("failed", "fooled"),
        BODY[:-1],
        f"{BODY}x",
        "",
    ],
)
def test_a_changed_body_is_told(body: str, known: Any) -> None:
    if known:
        assert found(body=body) == {"body": "bad", "secret": "good", "timestamp": "good"}
    else:
        assert "bad" in found(body=body, known=known).values()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_body_that_was_written_again_is_told_also_of_an_unknown_delivery(
    separators: tuple[str, str], *, is_ascii: bool
) -> None:
    body = json.dumps(json.loads(BODY), separators=separators, ensure_ascii=is_ascii)
    one = sent(body=body)
    pretty = json.dumps(json.loads(body), indent=2)
    assert found(one.headers, pretty, known=()) == {
        "body": "bad",
        "secret": "good",
        "timestamp": "good",
    }


def test_a_wrong_secret_is_told() -> None:
    assert found(secret=format_secret(OTHER)) == {"secret": "bad", "timestamp": "good"}


def test_a_secret_that_cannot_be_one_is_told_without_repeating_it() -> None:
    for secret in ("whsec_!!!", "whsk_" + "A" * 44, "whsec_QQ==", ""):
        [finding] = check_signature(ONE.headers, BODY, secret, (), NOW)
        assert finding.about == "secret"
        assert not secret.removeprefix("whsec_") or secret not in finding.text


def test_a_wrong_id_is_told() -> None:
    headers = {**ONE.headers, "webhook-id": "msg_2"}
    assert found(headers) == {"id": "bad", "secret": "good", "timestamp": "good"}


def test_a_timestamp_of_another_attempt_is_told() -> None:
    headers = {**ONE.headers, "webhook-timestamp": TWO.headers["webhook-timestamp"]}
    assert found(headers, known=(ONE,))["timestamp"] in ("bad", "good")
    texts = [one.text for one in check_signature(headers, BODY, SECRET, (ONE,), NOW)]
    assert any("attempt 1 was sent with" in text for text in texts)


def test_a_signature_that_we_did_not_send_is_told() -> None:
    headers = {**ONE.headers, "webhook-signature": "v1,AAAA"}
    assert found(headers) == {"signature": "bad", "secret": "good", "timestamp": "good"}


@pytest.mark.parametrize("name", list(ONE.headers))
def test_a_missing_header_is_named(name: str) -> None:
    headers = {key: value for key, value in ONE.headers.items() if key != name}
    [finding] = check_signature(headers, BODY, SECRET, (), NOW)
    assert name in finding.text


def test_a_timestamp_that_is_no_number_is_told() -> None:
    for stamp in ("2026-11-30", "١٢٣", "9" * 13, "-5"):
        headers = {**ONE.headers, "webhook-timestamp": stamp}
        assert found(headers) == {"timestamp": "bad"}


def test_headers_are_read_as_people_paste_them() -> None:
    pasted = 'POST /hook HTTP/1.1\nWebhook-Id:  msg_1 \r\n-H \'webhook-timestamp: 5\' \\\n  "webhook-signature": "v1,a=",\n\nnonsense'
    assert read_headers(pasted) == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "5",
        "webhook-signature": "v1,a=",
    }
