"""Histograms of durations: each bucket is 4 % wider than the last, so quantiles are at most 2 % off.

A histogram is one whole number whose digits are the counts, DIGITS for each bucket, the shortest
durations last. So two of them are merged by adding them, in Postgres as well, exactly and in any
order. What is read here is the form in which Postgres sends such a number.
"""

import math
import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

FINEST_SECONDS = 0.001  # what is shorter is in bucket 0 and counts as no time
GROWTH = 1.04
# How far a guess may be from a duration between 1 ms and 2 years, in proportion.
RELATIVE_ERROR = (GROWTH - 1) / (GROWTH + 1)
LAST = 640  # also of all that is longer
DIGITS = 12  # a bucket overflows into the next one at 10^12 durations

QUANTILES = (0.5, 0.95, 0.99)

_PER_LOG = 1 / math.log(GROWTH)

# Postgres sends digits of base 10,000, after their number, the weight of the first, sign and scale.
_BASE = 10_000
_PARTS = DIGITS // 4
_HEADER_BYTES = 8


def _middle(bucket: int) -> float:
    """The duration that is as far, in proportion, from one end of a bucket as from the other."""
    exact = FINEST_SECONDS * GROWTH ** (bucket - 1) * (1 + RELATIVE_ERROR) if bucket else 0.0
    return float(f"{exact:.6g}")  # more digits would only be longer to read


_MIDDLES = [_middle(bucket) for bucket in range(LAST + 1)]


def bucket_of(seconds: float) -> int:
    """The bucket of a duration."""
    if seconds < FINEST_SECONDS:
        return 0
    return min(LAST, 1 + int(math.log(seconds / FINEST_SECONDS) * _PER_LOG))


def quantiles(*sent: bytes) -> tuple[float, ...] | None:
    """The seconds at QUANTILES of all durations of some histograms, by nearest rank; None where there are none."""
    counts, top = _read(sent[0]) if len(sent) == 1 else _added_up(sent)
    if not counts:
        return None
    from_longest = list(accumulate(counts))
    total = from_longest[-1]
    places = [total - math.ceil(one * total) + 1 for one in QUANTILES]
    return tuple([_MIDDLES[top - bisect_left(from_longest, place)] for place in places])


def _added_up(sent: Sequence[bytes]) -> tuple[Sequence[int], int]:
    """The same as `_read`, of several histograms together."""
    sums = Counter[int]()
    for one in sent:
        counts, top = _read(one)
        for place, count in enumerate(counts):
            sums[top - place] += count
    top = max(sums, default=0)
    return [sums[bucket] for bucket in range(top, min(sums, default=1) - 1, -1)], top


def _read(sent: bytes) -> tuple[Sequence[int], int]:
    """The counts of buckets, from the highest that has any on down, and which that is."""
    weight, body = int.from_bytes(sent[2:4]), sent[_HEADER_BYTES:]
    low = body[2 * (weight % _PARTS) + 1 :: 2 * _PARTS]
    # Nearly always no count fills its lowest byte, and all others are zeros.
    if body.count(0) == len(body) - len(low) + low.count(0):
        return low, weight // _PARTS
    # Zeros at either end are not sent.
    before, after = _PARTS - 1 - weight % _PARTS, (weight + 1 - len(body) // 2) % _PARTS
    digits = (*[0] * before, *struct.unpack(f">{len(body) // 2}H", body), *[0] * after)
    parts = zip(*(digits[place::_PARTS] for place in range(_PARTS)), strict=True)
    return [(high * _BASE + mid) * _BASE + low for high, mid, low in parts], weight // _PARTS
