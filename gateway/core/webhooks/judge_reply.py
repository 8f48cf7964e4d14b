"""Judge a receiver's answer: what it means for the delivery and for its endpoint. Pure.

2xx is delivered; 410 disables the endpoint; 429, 502, 503 and 504 make the whole endpoint rest, for a
minute or its Retry-After; all else is a failed attempt. A delivery without attempts left is exhausted
(a dead letter): it stays visible and can be replayed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from gateway.core.policy import Policy
from gateway.core.schedule.backoff import redelivery
from gateway.core.webhooks.signed_request import Reply, SendFault

_GONE = 410
_OVERLOADED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver answered with success."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in `after` seconds; the whole endpoint rests for `slow` seconds."""

    after: float
    slow: float = 0.0


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No attempt is left: a dead letter."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver wants no more webhooks (410): its endpoint is disabled."""


Judgement = Delivered | Retry | Exhausted | Gone

# An endpoint is disabled once it has failed for so long and in so many attempts.
DISABLE_AFTER_SECONDS = 5 * 86_400.0
DISABLE_AFTER_ATTEMPTS = 20


def judge(
    answer: Reply | SendFault,
    attempts: int,
    policy: Policy,
    *,
    delays: Sequence[float] | None = None,
    retry_after: float | None = None,
    jitter: float = 0.0,
) -> Judgement:
    """Decide by the answer to the nth attempt that counts; `delays` are the endpoint's own."""
    status = answer.status if isinstance(answer, Reply) else None
    if status is not None and 200 <= status < 300:  # noqa: PLR2004 - the class of success
        return Delivered()
    if status == _GONE:
        return Gone()
    overloaded = status in _OVERLOADED
    wish = retry_after if overloaded else None
    after = redelivery(attempts, policy, delays=delays, retry_after=wish, jitter=jitter)
    if after is None:
        return Exhausted()
    if not overloaded:
        return Retry(after)
    slow = min(policy.slow_down if wish is None else wish, policy.retry_after_max)
    return Retry(max(after, slow), slow)


def failing_percent(seconds: float, attempts: int) -> int:
    """How near a failing endpoint is to being disabled, from 0 to 100 percent."""
    share = min(seconds / DISABLE_AFTER_SECONDS, attempts / DISABLE_AFTER_ATTEMPTS, 1.0)
    return int(share * 100)


def error_class(status: int) -> str | None:
    """The error class of a status, such as http_4xx; None for 2xx."""
    return None if 200 <= status < 300 else f"http_{status // 100}xx"  # noqa: PLR2004


def callback_lane(tenant_id: UUID, url: str) -> UUID:
    """The lane of a job's own callback: callbacks of a tenant to one origin share a lane."""
    parts = urlsplit(url)
    origin = f"{tenant_id}|{parts.scheme}://{parts.netloc}".encode()
    return UUID(bytes=hashlib.sha256(origin).digest()[:16])
