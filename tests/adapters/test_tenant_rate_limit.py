"""WindowLimiter on a real Valkey: one count for all processes, and one each while it is away."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from typing_extensions import override

from gateway.adapters.clock import SystemClock
from gateway.adapters.tenant_rate_limit import WindowLimiter
from gateway.ports import Allowance, Limiter
from tests.adapters.own_valkey import OwnValkey, own_valkey


class Ahead(SystemClock):
    """A clock that can be put forward; only what is monotonic of it."""

    ahead = 0.0

    @override
    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@asynccontextmanager
async def limiters(url: str, count: int = 1) -> AsyncIterator[list[WindowLimiter]]:
    """The limiters of so many processes."""
    async with AsyncExitStack() as stack:
        made = [WindowLimiter(url, Ahead()) for _ in range(count)]
        for one in made:
            stack.push_async_callback(one.aclose)
        yield made


async def burst(processes: Sequence[Limiter], hits: int, per_second: int) -> list[Allowance]:
    """Requests one after the other, to each process in turn, all within one second of the clock.

    Where the machine was too slow for that, the same is done for another subject.
    """
    clock = SystemClock()
    while True:
        began, subject = int(clock.now().timestamp()), uuid4().hex
        found = [await processes[n % len(processes)].hit(subject, per_second) for n in range(hits)]
        if int(clock.now().timestamp()) == began:
            return found


def passed(found: Sequence[Allowance]) -> int:
    return sum(one.allowed for one in found)


async def test_only_so_many_pass_in_a_second(redis_url: str) -> None:
    async with limiters(redis_url) as processes:
        found = await burst(processes, 8, 5)
    assert [one.allowed for one in found] == [True] * 5 + [False] * 3
    assert [one.remaining for one in found] == [4, 3, 2, 1, 0, 0, 0, 0]
    assert {one.limit for one in found} == {5}
    assert all(0.0 <= one.reset <= 1.0 for one in found)


async def test_several_processes_count_together(redis_url: str) -> None:
    async with limiters(redis_url, 2) as processes:
        found = await burst(processes, 8, 5)
        assert [one.allowed for one in found] == [True] * 5 + [False] * 3
        found = await burst(processes, 40, 10)
        by_process = Counter(n % 2 for n, one in enumerate(found) if one.allowed)
    assert by_process == {0: 5, 1: 5}


async def test_many_at_once_are_not_let_through_between_two_counts(redis_url: str) -> None:
    subject = uuid4().hex
    async with limiters(redis_url, 2) as processes:
        found = await asyncio.gather(*(processes[n % 2].hit(subject, 3) for n in range(12)))
    # However long that took, a window of one second lets 3 pass, and no second has begun twice.
    assert 3 <= passed(found) < 12


async def test_subjects_do_not_take_from_each_other(redis_url: str) -> None:
    async with limiters(redis_url) as processes:
        assert passed(await burst(processes, 9, 2)) == 2
        assert passed(await burst(processes, 9, 4)) == 4


async def test_another_limit_counts_at_once(redis_url: str) -> None:
    async with limiters(redis_url) as (one,):
        subject = uuid4().hex
        found = [await one.hit(subject, 1) for _ in range(2)]
        assert found[0].allowed
        more = await one.hit(subject, 50)
        assert (more.allowed, more.limit) == (True, 50)


async def test_the_next_window_lets_more_pass(redis_url: str) -> None:
    async with limiters(redis_url) as (one,):
        subject = uuid4().hex
        while (await one.hit(subject, 3)).allowed:
            pass
        async with asyncio.timeout(30):
            while not (again := await one.hit(subject, 3)).allowed:
                pass
    assert again.remaining < 3


# --- Redis comes and goes ------------------------------------------------------------------------


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[OwnValkey]:
    async with own_valkey(tmp_path) as server:
        yield server


async def test_without_redis_each_process_counts_alone(own: OwnValkey) -> None:
    async with limiters(own.url, 2) as processes:
        for one in processes:
            await one.hit("first", 5)  # which notices it
        found = await burst(processes, 16, 5)
        assert passed(found[0::2]) == passed(found[1::2]) == 5


async def test_a_redis_that_goes_away_refuses_nobody_and_is_tried_again(own: OwnValkey) -> None:
    await own.start()
    clocks = [Ahead(), Ahead()]
    processes = [WindowLimiter(own.url, clock) for clock in clocks]
    assert passed(await burst(processes, 8, 4)) == 4
    await own.end()
    assert (await processes[0].hit("a", 1)).allowed
    assert (await processes[1].hit("a", 1)).allowed, "they do not know of each other"
    await own.start()
    found = await burst(processes, 8, 2)
    assert passed(found) == 4, "it is not asked again so soon"
    for clock in clocks:
        clock.ahead += 5.0
    assert passed(await burst(processes, 8, 4)) == 4
    for one in processes:
        await one.aclose()
