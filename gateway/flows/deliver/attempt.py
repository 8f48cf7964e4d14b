"""One attempt of a delivery: the request that is sent, and the record that is kept of it.

The request is signed at the time of the attempt over the frozen body of the event. The record has
the response and the timings, but no secret: custom header values are hidden, also where the
receiver repeats them. Nothing here calls out or writes, so a crash leaves nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from gateway import __version__
from gateway.core.model import Attempt, DeliveryState
from gateway.core.webhooks.custom_headers import added
from gateway.core.webhooks.judge_reply import (
    Delivered,
    Exhausted,
    Gone,
    Judgement,
    Retry,
    error_class,
)
from gateway.core.webhooks.signed_request import Reply, SendFault, Timings, Webhook
from gateway.core.webhooks.signing import sign
from gateway.ports import Span
from gateway.store.webhooks.attempts import Recorded
from gateway.store.webhooks.deliveries import ToDeliver

_HIDDEN = "[hidden]"
# Shorter values occur everywhere, and are no secrets.
_SHORTEST_SECRET = 4
_SHORTEST_BEGINNING = 8


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """A delivery, its attempt, and the judgement on it."""

    delivery: ToDeliver
    token: UUID
    attempt: Attempt
    judgement: Judgement
    span: Span | None = None

    @property
    def counts(self) -> bool:
        """Whether a failure counts against the receiver.

        A resent event may be one that can only fail, and our egress proxy is not the receiver's.
        """
        return not self.delivery.resent and self.attempt.error_class != "egress"

    def without_response(self) -> "AttemptResult":
        """The same without the response of the receiver."""
        attempt = replace(self.attempt, response_headers=None, response_body=None, detail=None)
        return replace(self, attempt=attempt)


def signed_webhook(
    one: ToDeliver,
    keys: Sequence[bytes],
    custom: Mapping[str, str],
    at: datetime,
    traceparent: str | None = None,
) -> Webhook:
    """The request of one attempt, signed at its own time over the frozen body."""
    body, stamp, webhook_id = one.body.encode(), int(at.timestamp()), str(one.event_id)
    ours = (
        ("content-type", "application/json"),
        ("user-agent", f"job-gateway/{__version__}"),
        ("webhook-id", webhook_id),
        ("webhook-timestamp", str(stamp)),
        ("webhook-signature", sign(keys, webhook_id, stamp, body)),
        *((("traceparent", traceparent),) if traceparent else ()),
    )
    return Webhook(one.url, added(ours, custom) if custom else ours, body)


def attempt_of(
    one: ToDeliver,
    webhook: Webhook,
    custom: Mapping[str, str],
    answer: Reply | SendFault,
    at: datetime,
) -> Attempt:
    """The record of an attempt, without the values of custom headers: they may be secrets."""
    is_reply = isinstance(answer, Reply)
    sent = {name: _HIDDEN if name in custom else value for name, value in webhook.headers}
    secrets = _secrets(custom.values()) if custom else ()
    headers = _joined(answer.headers) if is_reply else {}
    text = answer.body.decode(errors="replace") if is_reply else answer.detail
    if secrets:
        headers = {name: _without(secrets, value) for name, value in headers.items()}
        text = _without(secrets, text)
    return Attempt(
        number=one.attempts,
        started_at=at,
        duration_ms=round(answer.seconds * 1000),
        url=one.url,
        request_headers=json.dumps(sent),
        status=answer.status if is_reply else None,
        response_headers=_storable(json.dumps(headers)) if is_reply else None,
        response_body=_storable(text) if is_reply else None,
        error_class=error_class(answer.status) if is_reply else answer.kind,
        detail=None if is_reply else _storable(text),
        timings=_timings(answer.timings),
    )


def _timings(timings: Timings) -> str:
    phases = {"dns": timings.dns, "connect": timings.connect, "tls": timings.tls}
    phases["firstByte"] = timings.first_byte
    known = (f'"{name}":{seconds:.6f}' for name, seconds in phases.items() if seconds is not None)
    return f"{{{','.join(known)}}}"


def recorded(one: AttemptResult) -> Recorded:
    """The state that an attempt gives its delivery: delivered, pending, parked, or a dead letter."""
    match one.judgement:
        case Delivered():
            state, delay = DeliveryState.DELIVERED, 0.0
        case Retry():
            state, delay = DeliveryState.PENDING, one.judgement.after
        case Gone() if one.delivery.endpoint_id is not None:
            state, delay = DeliveryState.PARKED, 0.0
        case Exhausted() | Gone():
            state, delay = DeliveryState.EXHAUSTED, 0.0
        case _:
            assert_never(one.judgement)
    return Recorded(
        one.delivery.id,
        one.delivery.tenant_id,
        one.token,
        state.value,
        delay,
        one.attempt,
    )


def _storable(text: str) -> str:
    """Postgres stores no NUL."""
    return text.replace("\x00", "\ufffd").replace("\\u0000", "\\ufffd")


def _joined(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _secrets(values: Iterable[str]) -> list[str]:
    """All spellings that would reveal these values, longest first.

    They are the values, the values without their scheme (as in `Bearer token`), and both as JSON,
    which may escape a slash.
    """
    plain = {part for value in values for part in (value, value.partition(" ")[2].strip())}
    quoted = {json.dumps(part)[1:-1] for part in plain}
    slashed = {part.replace("/", "\\/") for part in quoted}
    every = {part for part in plain | quoted | slashed if len(part) >= _SHORTEST_SECRET}
    return sorted(every, key=len, reverse=True)


def _without(secrets: Sequence[str], text: str) -> str:
    """Hide the secrets in a text, also one that is cut off at the end of the text."""
    found = [secret for secret in secrets if secret in text]
    if found:
        # In one pass, so that no replacement is taken for a secret.
        text = re.sub("|".join(map(re.escape, found)), _HIDDEN, text)
    start = min((_cut_off_at(secret, text) for secret in secrets), default=len(text))
    return text if start == len(text) else text[:start] + _HIDDEN


def _cut_off_at(secret: str, text: str) -> int:
    """Where a secret starts that is cut off by the end of the text; else the length of the text."""
    start = secret[:_SHORTEST_BEGINNING]
    at = text.find(start, max(0, len(text) - len(secret)))
    while at >= 0 and not secret.startswith(text[at:]):
        at = text.find(start, at + 1)
    return len(text) if at < 0 else at
