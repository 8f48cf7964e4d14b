"""Why a receiver's check of a signature fails: which of body, id, timestamp and secret is another one. Pure.

It decides with `gateway.webhooks.verify`, as receivers do. What was sent is known for a delivery of ours;
for anything else only the changes that are made often to a body are tried.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from gateway.webhooks import TOLERANCE_SECONDS, WebhookVerificationError, read_key, verify

_ID, _TIMESTAMP, _SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
_NAMES = (_ID, _TIMESTAMP, _SIGNATURE)
_PROVEN = "the signature is good"
_AROUND = 24

Look = Literal["good", "needs", "bad"]


class SignatureFinding(NamedTuple):
    """One result of the check."""

    look: Look
    about: str
    text: str


class SentWebhook(NamedTuple):
    """One attempt as it was sent."""

    number: int
    headers: Mapping[str, str]
    body: str


def read_headers(text: str) -> dict[str, str]:
    """The headers of a pasted text, one a line as `name: value`, also as options of curl; names in lower case."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        plain = line.strip().removesuffix("\\").strip().removeprefix("-H").strip().strip("'\",")
        name, colon, value = plain.partition(":")
        if colon:
            found[name.strip().strip("'\"").lower()] = value.strip().strip("'\"")
    return found


def check_signature(
    headers: Mapping[str, str], body: str, secret: str, sent: Sequence[SentWebhook], now: float
) -> list[SignatureFinding]:
    """What is right and what is wrong with a request that somebody got; `sent` is what we sent, if it is known."""
    missing = [name for name in _NAMES if not headers.get(name)]
    if missing:
        return [SignatureFinding("bad", "headers", f"{', '.join(missing)}: is missing.")]
    try:
        read_key(secret)
    except WebhookVerificationError as error:
        return [SignatureFinding("bad", "secret", f"The secret cannot be one: {error}.")]
    if not _is_time(headers[_TIMESTAMP]):
        return [SignatureFinding("bad", "timestamp", "The timestamp is not whole seconds.")]
    given = {name: headers[name] for name in _NAMES}
    findings = list(_judge(given, body, secret, sent))
    return [*findings, *_judge_time(headers[_TIMESTAMP], now)]


def _judge(
    given: Mapping[str, str], body: str, secret: str, sent: Sequence[SentWebhook]
) -> Iterator[SignatureFinding]:
    if _proves(given, body, secret):
        yield SignatureFinding(
            "good", "signature", "The signature is right for this body and this secret."
        )
        return
    if change := _usual_change(given, body, secret):
        yield SignatureFinding("bad", "body", f"The body was changed: {change}.")
        yield SignatureFinding("good", "secret", "The secret is the right one.")
        return
    if not sent:
        reason = "The signature fits neither this body nor this secret. Open the delivery in the console and check there: then what was sent is known."
        yield SignatureFinding("bad", "signature", reason)
        return
    yield from _compare(given, body, secret, sent)


def _compare(
    given: Mapping[str, str], body: str, secret: str, sent: Sequence[SentWebhook]
) -> Iterator[SignatureFinding]:
    """Compare with the attempt that the request is most likely from."""
    one = _nearest(given, sent)
    if given[_ID] != one.headers[_ID]:
        text = f"The webhook-id is {given[_ID]}, and that of this delivery is {one.headers[_ID]}."
        yield SignatureFinding("bad", "id", text)
    if body != one.body:
        yield SignatureFinding(
            "bad", "body", f"The body was changed: {_difference(body, one.body)}."
        )
    if given[_TIMESTAMP] != one.headers[_TIMESTAMP]:
        text = f"The timestamp is {given[_TIMESTAMP]}; attempt {one.number} was sent with {one.headers[_TIMESTAMP]}. Each attempt has its own timestamp and signature."
        yield SignatureFinding("bad", "timestamp", text)
    if given[_SIGNATURE] != one.headers[_SIGNATURE]:
        text = f"The signature is not the one that attempt {one.number} was sent with."
        yield SignatureFinding("bad", "signature", text)
    if any(_proves(each.headers, each.body, secret) for each in sent):
        yield SignatureFinding("good", "secret", "The secret is the right one.")
    else:
        text = "The secret is another one than those that this delivery was signed with. Take the secret of this endpoint, or the tenant's default secret for a callbackUrl; after a rotation take the new one."
        yield SignatureFinding("bad", "secret", text)


def _nearest(given: Mapping[str, str], sent: Sequence[SentWebhook]) -> SentWebhook:
    def likeness(one: SentWebhook) -> tuple[bool, bool, int]:
        same = one.headers[_SIGNATURE] == given[_SIGNATURE]
        return same, one.headers[_TIMESTAMP] == given[_TIMESTAMP], one.number

    return max(sent, key=likeness)


def _judge_time(stamp: str, now: float) -> Iterator[SignatureFinding]:
    away = now - int(stamp)
    if abs(away) <= TOLERANCE_SECONDS:
        yield SignatureFinding("good", "timestamp", "The timestamp is within five minutes of now.")
        return
    side = "in the past" if away > 0 else "in the future"
    yield SignatureFinding(
        "needs",
        "timestamp",
        f"The timestamp is {abs(away):.0f} seconds {side}. Receivers refuse more than {TOLERANCE_SECONDS}."
        " That is right for a request of earlier; if it came just now, the receiver's clock is off.",
    )


def _usual_change(given: Mapping[str, str], body: str, secret: str) -> str:
    """Which of the usual changes of a body was made: undone, the signature is right. Empty for none."""
    candidates = {
        "it has spaces or line ends around it": body.strip(),
        "its line ends are other ones": body.replace("\n", "\r\n"),
        "a line end was taken off": f"{body}\n",
    }
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if value is not None:
        for is_ascii in (False, True):
            for separators in ((",", ":"), (", ", ": ")):
                text = json.dumps(value, ensure_ascii=is_ascii, separators=separators)
                what = "it was parsed and written again, which made other bytes"
                if _proves(given, text, secret):
                    return what
    found = (what for what, text in candidates.items() if _proves(given, text, secret))
    return next(found, "")


def _difference(given: str, sent: str) -> str:
    """Where two bodies differ first."""
    pairs = zip(given, sent, strict=False)
    short = min(len(given), len(sent))
    place = next((at for at, (one, other) in enumerate(pairs) if one != other), short)
    if place == len(given):
        return f"it ends after {place:,} characters, and {len(sent):,} were sent"
    if place == len(sent):
        return (
            f"it has {len(given) - place:,} characters more than the {len(sent):,} that were sent"
        )
    here, there = given[place : place + _AROUND], sent[place : place + _AROUND]
    return f"from character {place + 1:,} on it is `{here}`, and `{there}` was sent"


def _proves(headers: Mapping[str, str], body: str, secret: str) -> bool:
    """Whether the secret proves a request, whatever the time is."""
    try:
        verify(body, headers, secret, now=float(headers[_TIMESTAMP]))
    except WebhookVerificationError as error:
        return str(error).startswith(_PROVEN)  # and its body is no JSON object
    return True


def _is_time(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 12  # noqa: PLR2004
