"""The Retry-After header (RFC 9110, section 10.2.3), of the upstream and of webhook receivers."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_RETRY_AFTER = 86_400.0
# The RFC has whole seconds only; servers that send a fraction mean it all the same.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds until the server wants the next request: from 0 to MAX_RETRY_AFTER, a day.

    `value` is a number of seconds or an HTTP date; a date without a zone is UTC. None where it is
    absent or malformed, and for a date that is not after `now`: that is a clock that is wrong, so the
    caller's own back-off is the safer answer.
    """
    text = (value or "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(text)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(seconds, MAX_RETRY_AFTER) if seconds > 0 else None
