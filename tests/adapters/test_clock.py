"""The machine's clock and chance."""

from datetime import UTC

from gateway.adapters.clock import SystemClock, SystemIds
from gateway.ports import Clock, Ids


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


def test_chance() -> None:
    ids = SystemIds()
    assert len(ids.random_bytes(32)) == 32
    assert ids.random_bytes(32) != ids.random_bytes(32)
    assert len({ids.jitter() for _ in range(100)}) > 1
    assert all(0 <= ids.jitter() < 1 for _ in range(100))
