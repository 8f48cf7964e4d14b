"""Times that callers send: RFC 3339, or a date, which means its first moment in UTC."""

import re
from datetime import UTC, datetime

TIME_WORDS = "a time such as 2026-11-30T00:00:00Z or a date such as 2026-11-30"

_FORM = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(?P<offset>[Zz]|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)
_LOST_PLUS = re.compile(r"\d{4}-\d\d-\d\d[Tt ][\d:.]{5,} \d\d:?\d\d")


class Instant(datetime):
    """A time that a caller sent, in UTC. msgspec cannot encode it: use `plain` first."""


def plain(at: Instant) -> datetime:
    """The same time as a datetime of the standard library."""
    return datetime.combine(at.date(), at.time(), at.tzinfo)


def read_instant(text: str) -> Instant:
    """Read a time; without an offset it is UTC. Raises ValueError with the reason."""
    match = _FORM.fullmatch(text)
    if match is None:
        if _LOST_PLUS.fullmatch(text):
            raise ValueError("has a space in front of the offset; in a URL, write + as %2B")
        raise ValueError(f"must be {TIME_WORDS}")
    offset = (match["offset"] or "Z").upper().replace("Z", "+00:00")
    try:
        at = datetime.fromisoformat(f"{match['day']}T{match['time'] or '00:00'}{offset}")
    except ValueError:
        raise ValueError(f"is not a possible date or time; it must be {TIME_WORDS}") from None
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None
    return Instant.combine(at.date(), at.time(), UTC)


def decode_instant(kind: type, value: object) -> Instant:
    """The hook by which msgspec reads an Instant, a type that it does not know."""
    if kind is not Instant or not isinstance(value, str):
        raise ValueError(f"must be {TIME_WORDS}")
    return read_instant(value)
