"""Content negotiation by the header Accept."""

from collections.abc import Sequence
from typing import NamedTuple


class _Rank(NamedTuple):
    quality: float
    specificity: int
    place: int


_UNACCEPTED = _Rank(0.0, 0, 0)


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type with the highest weight; the first offered if none is acceptable.

    Of types with the same weight, one that is named wins over one that only `*` covers, and then
    the one that the caller names first. A malformed weight counts as 0.
    """
    ranges = [_read(text) for text in accept.lower().split(",")]
    ranks = {one: _rank(one, ranges) for one in offered}
    best = max(offered, key=ranks.__getitem__)
    return best if ranks[best].quality > 0 else offered[0]


def _read(text: str) -> tuple[str, float]:
    name, *parameters = (part.strip() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return name, _quality(value.strip(' \t"'))
    return name, 1.0


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0 < quality <= 1 else 0.0


def _rank(offered: str, ranges: Sequence[tuple[str, float]]) -> _Rank:
    """The rank by the most specific range that covers the type."""
    specificity = {"*/*": 0, f"{offered.partition('/')[0]}/*": 1, offered: 2}
    found = [
        _Rank(quality, specificity[name], -place)
        for place, (name, quality) in enumerate(ranges)
        if name in specificity
    ]
    return max(found, key=lambda rank: (rank.specificity, rank.place), default=_UNACCEPTED)
