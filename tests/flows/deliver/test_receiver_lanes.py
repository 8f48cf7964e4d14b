"""Lanes: turns within the window of each receiver."""

import asyncio
import time
from uuid import UUID

from gateway.flows.deliver.receiver_lanes import ReceiverLanes, Taken

ONE, OTHER = UUID(int=1), UUID(int=2)


def claim(lanes: ReceiverLanes, count: int, lane: UUID = ONE) -> None:
    for _ in range(count):
        lanes.claim(lane)


async def test_turns_are_taken_within_the_window_and_in_order():
    lanes = ReceiverLanes(2, 100)
    claim(lanes, 4)
    assert [await lanes.enter(ONE, 1) for _ in range(2)] == [True, True]
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await lanes.enter(ONE, 5)
        order.append(number)

    waiting = [asyncio.create_task(wait(number)) for number in range(2)]
    await asyncio.sleep(0.01)
    assert order == []
    lanes.leave(ONE, answered=False)  # the window stays at its least
    await asyncio.wait_for(waiting[0], 5)
    assert order == [0]
    lanes.leave(ONE, answered=True)
    await asyncio.wait_for(waiting[1], 5)
    assert order == [0, 1]


async def test_lanes_do_not_wait_for_one_another():
    lanes = ReceiverLanes(1, 100)
    claim(lanes, 1)
    claim(lanes, 1, OTHER)
    assert await lanes.enter(ONE, 1)
    assert await lanes.enter(OTHER, 1)


async def test_a_delivery_without_a_turn_in_time_is_refused_and_takes_none_later():
    lanes = ReceiverLanes(1, 100)
    claim(lanes, 3)
    assert await lanes.enter(ONE, 1)
    assert not await lanes.enter(ONE, 0.01)
    lanes.leave(ONE, answered=True)
    assert await lanes.enter(ONE, 0.01), "the turn was not given to who had gone"
    assert await lanes.enter(ONE, 0.01), "and the window has grown"


async def test_a_turn_given_to_a_cancelled_delivery_is_passed_on():
    lanes = ReceiverLanes(1, 100)
    claim(lanes, 3)
    assert await lanes.enter(ONE, 1)
    first = asyncio.create_task(lanes.enter(ONE, 5))
    second = asyncio.create_task(lanes.enter(ONE, 5))
    await asyncio.sleep(0.01)
    lanes.leave(ONE, answered=False)
    lanes.leave(ONE, answered=False)
    first.cancel()
    assert await asyncio.wait_for(second, 5)
    await asyncio.gather(first, return_exceptions=True)


async def test_a_delivery_that_is_cancelled_while_it_waits_takes_no_turn():
    lanes = ReceiverLanes(1, 100)
    claim(lanes, 3)
    assert await lanes.enter(ONE, 1)
    waiting = asyncio.create_task(lanes.enter(ONE, 5))
    await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    lanes.leave(ONE, answered=False)
    assert await lanes.enter(ONE, 0.01)


async def test_it_tells_how_many_more_may_be_claimed():
    lanes = ReceiverLanes(5, 100)
    assert lanes.taken() == []
    claim(lanes, 3)
    assert lanes.taken() == [Taken(ONE, 2, 3)]
    assert await lanes.enter(ONE, 1)
    lanes.leave(ONE, answered=True)
    assert lanes.taken() == [Taken(ONE, 21, 3)]
    lanes.end(ONE)
    assert lanes.taken() == [Taken(ONE, 22, 2)]


async def test_a_lane_at_rest_is_forgotten():
    lanes = ReceiverLanes(5, 100, rest=0.01)
    claim(lanes, 1)
    await asyncio.sleep(0.03)
    assert lanes.taken() == [Taken(ONE, 4, 1)]
    lanes.end(ONE)
    await asyncio.sleep(0.03)
    assert lanes.taken() == []


async def test_a_window_grows_only_while_the_event_loop_has_time():
    lanes = ReceiverLanes(2, 100)
    claim(lanes, 2)
    for _ in range(20):
        await asyncio.sleep(0)
        time.sleep(0.04)  # noqa: ASYNC251 - what a busy process does
    assert await lanes.enter(ONE, 1)
    lanes.leave(ONE, answered=True)
    assert lanes.taken()[0].free == 6, "four times two, less the claimed"
    await asyncio.sleep(0.5)
    assert await lanes.enter(ONE, 1)
    lanes.leave(ONE, answered=True)
    assert lanes.taken()[0].free == 10
    lanes.end(ONE)
    lanes.end(ONE)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == 1


async def test_a_lane_that_was_full_is_looked_after_when_it_has_room_again():
    looks: list[int] = []
    lanes = ReceiverLanes(4, 100, lambda: looks.append(1))
    claim(lanes, 3)
    lanes.end(ONE)
    assert looks == [], "it was not full"
    claim(lanes, 2)
    lanes.end(ONE)
    assert looks == []
    lanes.end(ONE)
    assert looks == [1]
    lanes.end(ONE)
    assert looks == [1], "once"


async def test_when_half_of_all_has_left_more_is_looked_for():
    looks: list[int] = []
    lanes = ReceiverLanes(3, 8, lambda: looks.append(1))
    for number in range(1, 5):
        claim(lanes, 2, UUID(int=number))
    for lane in (ONE, ONE, OTHER):
        lanes.end(lane)
    assert looks == [], "more than half are there"
    lanes.end(OTHER)
    assert looks == [1], "half of all have left, of lanes that none was full"
