"""The token bucket: a burst, then a steady rate, with urgent calls first."""

import asyncio

import pytest

from gateway.adapters.musicai.token_bucket import TokenBucket


async def test_a_burst_of_a_second_is_free_and_then_there_is_a_rate():
    bucket = TokenBucket(20)
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(20):
        await bucket.take(urgent=False)
    assert not bucket.is_full
    await asyncio.gather(*(bucket.take(urgent=False) for _ in range(6)))
    assert loop.time() - started >= 6 / 20 - 0.06


async def test_urgent_calls_go_first_and_the_others_in_order():
    bucket = TokenBucket(50)
    for _ in range(50):
        await bucket.take(urgent=False)
    order: list[str] = []

    async def take(name: str, *, urgent: bool) -> None:
        await bucket.take(urgent=urgent)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(take(f"submit {number}", urgent=False))
        await asyncio.sleep(0)
        group.create_task(take("list", urgent=True))
    assert order.index("list") <= 1
    assert [name for name in order if name != "list"] == [f"submit {n}" for n in range(3)]


async def test_a_cancelled_caller_takes_no_token():
    bucket = TokenBucket(10)
    for _ in range(10):
        await bucket.take(urgent=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await bucket.take(urgent=True)
    async with asyncio.timeout(5):
        await bucket.take(urgent=True)
        await asyncio.sleep(1.1)
    assert bucket.is_full


async def test_a_rate_below_one_a_second_still_allows_one():
    bucket = TokenBucket(0.5)
    async with asyncio.timeout(1):
        await bucket.take(urgent=False)
    assert not bucket.is_full
