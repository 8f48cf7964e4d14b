"""The clock, ids and random numbers of the system."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.adapters.clock import PostgresClock, SystemClock, SystemIds
from gateway.core.uuid7 import time_of
from gateway.ports import Clock, Ids, SharedClock


async def test_the_clock_goes_forward() -> None:
    clock: Clock = SystemClock()
    wall, steady = clock.now(), clock.monotonic()
    await clock.sleep(0.02)
    assert clock.now() > wall
    assert clock.monotonic() >= steady + 0.02
    assert wall.tzinfo is UTC


def test_ids_are_new_and_sorted_by_time() -> None:
    ids: Ids = SystemIds()
    made = [ids.uuid() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert made == sorted(made)
    assert {one.version for one in made} == {7}


def test_random_bytes_and_jitter() -> None:
    ids = SystemIds()
    assert len(ids.random_bytes(32)) == 32
    assert ids.random_bytes(32) != ids.random_bytes(32)
    assert len({ids.jitter() for _ in range(100)}) > 1
    assert all(0 <= ids.jitter() < 1 for _ in range(100))


@pytest.mark.parametrize("ahead", [90.0, -90.0])
def test_times_and_ids_go_by_the_clock_that_is_set(ahead: float) -> None:
    clock: SharedClock = PostgresClock(SystemClock())
    ids, offset = SystemIds(clock), timedelta(seconds=ahead)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=10)
    assert abs(time_of(ids.uuid()) - datetime.now(UTC)) < timedelta(seconds=10)
    clock.set_offset(offset)
    assert abs(clock.now() - offset - datetime.now(UTC)) < timedelta(seconds=10)
    made = [ids.uuid() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert made == sorted(made)
    assert {(one.version, one.variant) for one in made} == {(7, made[0].variant)}
    assert abs(time_of(made[-1]) - offset - datetime.now(UTC)) < timedelta(seconds=10)
