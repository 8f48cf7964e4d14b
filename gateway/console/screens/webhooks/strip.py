"""A strip of attempts: one bar for each, the newest at the right. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from gateway.flows.read.endpoints import AttemptMark

_STEP = 10
_TALL, _SHORT = 28, 16


class StripBar(NamedTuple):
    """One attempt: a failure is taller than a success, so that it shows without colours."""

    look: str
    x: int
    y: int
    height: int


def strip(attempts: Sequence[AttemptMark]) -> list[StripBar]:
    """The bars of attempts, which come newest first, on an axis of 1000 by 28."""
    return [
        _bar(place, is_good=one.error_class is None) for place, one in enumerate(attempts[:100])
    ]


def _bar(place: int, *, is_good: bool) -> StripBar:
    height = _SHORT if is_good else _TALL
    x = 1000 - (place + 1) * _STEP
    return StripBar("good" if is_good else "bad", x, _TALL - height, height)
