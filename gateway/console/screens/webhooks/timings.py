"""The timings of one HTTP attempt as parts of a bar. Pure."""

import json
from typing import NamedTuple

from gateway.core.model import Attempt

AXIS = 1000
_LEAST = 4
_PHASES = {"dns": "DNS", "connect": "connect", "tls": "TLS", "firstByte": "first byte"}


class TimingPart(NamedTuple):
    """One phase, as a part of an axis of 1000."""

    name: str
    look: str
    start: int
    width: int
    seconds: float


def timing_parts(attempt: Attempt) -> list[TimingPart]:
    """The phases of an attempt in order, and what came after them; without timings all of it is one part."""
    known: dict[str, float] = json.loads(attempt.timings or "{}")
    phases = [(name, look, known[look]) for look, name in _PHASES.items() if look in known]
    rest = attempt.duration_ms / 1000 - sum(seconds for _, _, seconds in phases)
    if rest >= 0.001 or not phases:  # noqa: PLR2004 - durations are known to the millisecond
        name = "body" if "firstByte" in known and attempt.status else "waited"
        phases.append((name, "rest", max(rest, 0.0)))
    whole = max(sum(seconds for _, _, seconds in phases), 0.000_001)
    parts: list[TimingPart] = []
    start = 0
    for name, look, seconds in phases:
        width = min(max(round(AXIS * seconds / whole), _LEAST), AXIS - start)
        parts.append(TimingPart(name, look, start, max(width, 0), seconds))
        start += max(width, 0)
    return parts
