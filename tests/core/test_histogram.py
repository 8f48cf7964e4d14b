"""Histograms: what is read is near what was counted, however much that is."""

import math
import struct
from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.core.histogram import (
    DIGITS,
    FINEST_SECONDS,
    GROWTH,
    LAST,
    QUANTILES,
    RELATIVE_ERROR,
    bucket_of,
    quantiles,
)

_YEAR = 365 * 86_400.0
_BASE = 10_000


def sent(counts: dict[int, int]) -> bytes:
    """A histogram as Postgres sends it: its digits of base 10,000 without zeros at the ends."""
    number = sum(count * 10 ** (DIGITS * bucket) for bucket, count in counts.items())
    digits: list[int] = []
    while number:
        number, digit = divmod(number, _BASE)
        digits.insert(0, digit)
    weight = len(digits) - 1
    while digits and not digits[-1]:
        digits.pop()
    return struct.pack(f">4H{len(digits)}H", len(digits), max(weight, 0), 0, 0, *digits)


def nearest_rank(durations: Iterable[float]) -> list[float]:
    ordered = sorted(durations)
    return [ordered[math.ceil(one * len(ordered)) - 1] for one in QUANTILES]


def test_the_error_is_at_most_two_percent():
    assert 0 < RELATIVE_ERROR <= 0.02


def test_of_nothing_there_are_no_quantiles():
    assert quantiles(sent({})) is None


@given(st.lists(st.floats(FINEST_SECONDS, 2 * _YEAR), min_size=1, max_size=100))
@example([FINEST_SECONDS])
@example([2 * _YEAR])
@example([FINEST_SECONDS * GROWTH**n for n in range(600)])
def test_every_quantile_is_within_the_error(durations: list[float]):
    found = quantiles(sent(Counter(map(bucket_of, durations))))
    assert found == pytest.approx(nearest_rank(durations), rel=RELATIVE_ERROR + 1e-5)


@given(st.dictionaries(st.integers(0, LAST), st.integers(1, 10**11), min_size=1, max_size=40))
@example({5: _BASE})
@example({5: _BASE**2, 6: 1})
@example({0: _BASE - 1, 1: _BASE + 1})
def test_counts_of_any_size_are_read(counts: dict[int, int]):
    total, below, expected = sum(counts.values()), 0, dict.fromkeys(QUANTILES, 0.0)
    for bucket in sorted(counts):
        for one in QUANTILES:
            if below < math.ceil(one * total) <= below + counts[bucket]:
                lower = FINEST_SECONDS * GROWTH ** (bucket - 1)
                expected[one] = lower * (1 + RELATIVE_ERROR) if bucket else 0.0
        below += counts[bucket]
    assert quantiles(sent(counts)) == pytest.approx(tuple(expected.values()), rel=1e-5)


@given(
    st.lists(st.dictionaries(st.integers(0, LAST), st.integers(1, 10**9), max_size=5), max_size=4)
)
def test_several_histograms_are_as_their_sum(several: list[dict[int, int]]):
    together = Counter[int]()
    for one in several:
        together.update(one)
    assert quantiles(*map(sent, several)) == quantiles(sent(together))


def test_what_is_too_short_to_tell_counts_as_no_time():
    assert quantiles(sent({0: 3})) == (0.0, 0.0, 0.0)


def test_what_is_longer_than_two_years_is_in_the_last_bucket():
    found = quantiles(sent({bucket_of(1000 * _YEAR): 1}))
    assert found is not None
    assert found[0] > 2 * _YEAR


def test_what_is_shorter_than_the_finest_bucket_counts_as_no_time():
    assert bucket_of(0.0) == bucket_of(FINEST_SECONDS / 2) == 0
    assert quantiles(sent({bucket_of(0.0): 1})) == (0.0, 0.0, 0.0)
