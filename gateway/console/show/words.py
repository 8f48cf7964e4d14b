"""How pages word times, numbers, ids and texts of tenants. Pure."""

import math
from datetime import UTC, datetime

from markupsafe import Markup, escape

from gateway.core.text.printable import printable, printable_lines

_SHORT_ID = 16
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_SIZES, _KILO = ("bytes", "kB", "MB", "GB", "TB"), 1000
_UNITS = ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"))


def ago(at: datetime, now: datetime) -> str:
    """A time from now, in one unit; frontend/src/js/times.js says the same as it goes on."""
    seconds = (now - at).total_seconds()
    away = abs(seconds)
    if away < 1:
        return "now"
    size, unit = next(((size, unit) for size, unit in _UNITS if away >= size), (1, "s"))
    text = f"{math.floor(away / size)} {unit}"
    return f"in {text}" if seconds < 0 else f"{text} ago"


def absolute(at: datetime) -> str:
    """A whole time for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


def machine(at: datetime) -> str:
    """A time for machines, as the API writes it."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def duration(seconds: float | None) -> str:
    """A length of time, with as many digits as say something."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"  # noqa: PLR2004
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min {seconds % _MINUTE:.0f} s"
    if seconds < _DAY:
        return f"{seconds // _HOUR:.0f} h {seconds % _HOUR // _MINUTE:.0f} min"
    return f"{seconds // _DAY:.0f} d {seconds % _DAY // _HOUR:.0f} h"


def short_id(text: str) -> str:
    """The first eight and the last four characters of an id."""
    return text if len(text) <= _SHORT_ID else f"{text[:8]}\u2026{text[-4:]}"


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def size(number: int) -> str:
    """A number of bytes, in the largest unit that leaves a whole digit."""
    amount, unit = float(number), 0
    while amount >= _KILO and unit < len(_SIZES) - 1:
        amount, unit = amount / _KILO, unit + 1
    return f"{amount:.0f} {_SIZES[unit]}" if unit == 0 else f"{amount:.1f} {_SIZES[unit]}"


def shown(text: object, most: int = 10_000) -> str:
    """A text of a tenant on one line: control characters and marks of direction are visible."""
    plain = str(text)
    return printable(plain if len(plain) <= most else f"{plain[:most]}\u2026")


def shown_lines(text: object, most: int = 100_000) -> str:
    """The same for a text of several lines."""
    plain = str(text)
    return printable_lines(plain if len(plain) <= most else f"{plain[:most]}\u2026")


def code(text: str) -> Markup:
    """A text of ours in which `backticks` mark code."""
    parts = [escape(part) for part in text.split("`")]
    parts[1::2] = [Markup("<code>{}</code>").format(part) for part in parts[1::2]]
    return Markup("").join(parts)
