"""What a receiver's answer means for a delivery and for its endpoint."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from gateway.core.schedule import Policy, redelivery
from gateway.core.webhooks.request import Reply, SendFault

_GONE = 410
_OVERLOADED = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again in `after` seconds; `slow` seconds of rest are due to the whole endpoint."""

    after: float
    slow: float = 0.0


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No attempt is left."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The receiver wants nothing any more (410): its endpoint is to be disabled."""


Judgement = Delivered | Retry | Exhausted | Gone

# An endpoint that fails for so long, and so often, is disabled.
PATIENCE_SECONDS = 5 * 86_400.0
PATIENCE_ATTEMPTS = 20


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
    """How far an endpoint that only fails is on its way to be disabled, from 0 to 100."""
    share = min(seconds / PATIENCE_SECONDS, attempts / PATIENCE_ATTEMPTS, 1.0)
    return int(share * 100)


def error_class(status: int) -> str | None:
    """The class of a reply that is no success, such as http_4xx."""
    return None if 200 <= status < 300 else f"http_{status // 100}xx"  # noqa: PLR2004


def callback_lane(tenant_id: UUID, url: str) -> UUID:
    """The lane of a job's own callback: those to one origin share a fate."""
    parts = urlsplit(url)
    origin = f"{tenant_id}|{parts.scheme}://{parts.netloc}".encode()
    return UUID(bytes=hashlib.sha256(origin).digest()[:16])
