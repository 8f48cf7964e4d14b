"""Slots: room is counted, failures are heard of, a stopping process waits and then cuts off."""

import asyncio
from collections.abc import Callable

import pytest

from gateway.flows.process.slots import Slots
from tests.fakes import FixedClock


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture
async def slots(clock: FixedClock) -> Slots:
    return Slots(clock)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the slots have no event for it
            await asyncio.sleep(0.001)


async def test_work_takes_room_of_its_verb_until_it_ends(slots: Slots):
    free = asyncio.Event()
    slots.start("submit", asyncio.sleep(10))
    slots.start("submit", _wait(free))
    assert (slots.used("submit"), slots.used("poll")) == (2, 0)
    free.set()
    await slots.wait_for_slot(10)
    assert slots.used("submit") == 1
    assert await slots.drain(0) == 1


async def _wait(free: asyncio.Event) -> None:
    await free.wait()


async def _fail() -> None:
    raise ValueError("bad work")


async def test_slow_work_leaves_its_slot_to_others_up_to_four_times_the_cap(
    slots: Slots, clock: FixedClock
):
    for _ in range(2):
        slots.start("deliver", asyncio.sleep(10))
    assert slots.free_excluding_slow("deliver", 2) == 0
    clock.advance(0.5)
    assert slots.free_excluding_slow("deliver", 2) == 2
    slots.start("deliver", asyncio.sleep(10))
    assert slots.free_excluding_slow("deliver", 2) == 1
    for _ in range(7):
        slots.start("deliver", asyncio.sleep(10))
    clock.advance(0.5)
    assert (slots.used("deliver"), slots.free_excluding_slow("deliver", 2)) == (10, 0)
    assert await slots.drain(0) == 10


async def test_waiting_for_room_ends_by_itself(slots: Slots):
    slots.start("submit", asyncio.sleep(10))
    await slots.wait_for_slot(0.001)
    assert slots.used("submit") == 1
    await slots.drain(0)


async def test_a_verb_is_idle_once_all_its_work_has_ended(slots: Slots):
    free = asyncio.Event()
    slots.start("deliver", asyncio.sleep(10))
    await slots.wait_idle("submit", 10)
    for _ in range(2):
        slots.start("submit", _wait(free))
    waiting = asyncio.create_task(slots.wait_idle("submit", 10))
    await asyncio.wait([waiting], timeout=0.01)
    assert not waiting.done()
    free.set()
    await waiting
    assert (slots.used("submit"), slots.used("deliver")) == (0, 1)
    await slots.wait_idle("deliver", 0.001)
    assert slots.used("deliver") == 1
    await slots.drain(0)


async def test_an_error_goes_to_the_handler_of_the_loop_and_frees_the_room(slots: Slots):
    heard: list[dict] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: heard.append(context))
    slots.start("deliver", _fail())
    await until(lambda: heard)
    assert heard[0]["message"] == "deliver failed"
    assert str(heard[0]["exception"]) == "bad work"
    assert slots.used("deliver") == 0


async def test_draining_waits_for_what_runs(slots: Slots):
    ended: list[str] = []

    async def finish() -> None:
        await asyncio.sleep(0.01)
        ended.append("done")

    slots.start("submit", finish())
    assert await slots.drain(10) == 0
    assert ended == ["done"]
    assert slots.closing


async def test_draining_nothing_ends_at_once(slots: Slots):
    assert await slots.drain(10) == 0
    assert slots.closing


async def test_draining_cuts_off_what_takes_too_long(slots: Slots):
    cut: list[str] = []

    async def stubborn() -> None:
        try:
            await asyncio.sleep(10)
        finally:
            cut.append("cut")

    slots.start("submit", stubborn())
    await asyncio.sleep(0)
    assert await slots.drain(0.001) == 1
    assert cut == ["cut"]
    assert slots.used("submit") == 0


async def test_ends_that_come_together_look_again_once_for_each_verb(slots: Slots):
    looked: list[str] = []
    slots.on_room(looked.append)
    for verb in ("submit", "submit", "submit", "deliver"):
        slots.start(verb, asyncio.sleep(0))
    await until(lambda: len(looked) >= 2)
    assert sorted(looked) == ["deliver", "submit"]
    slots.start("submit", asyncio.sleep(0))
    await until(lambda: len(looked) == 3)


async def test_a_stopping_process_does_not_look_again(slots: Slots):
    looked: list[str] = []
    slots.on_room(looked.append)
    slots.start("submit", asyncio.sleep(0))
    await slots.wait_for_slot(10)
    assert await slots.drain(0) == 0
    slots.start("deliver", asyncio.sleep(0))
    await asyncio.sleep(0.05)
    assert looked == []
