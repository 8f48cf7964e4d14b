"""Group commit: few writes, every caller answered after its own, nobody failed by another."""

import asyncio

import pytest

from gateway.errors import Unavailable
from gateway.flows.process.group_commit import GroupCommit


class Writes:
    """Keeps what it was given, in batches; refuses what is named."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.at_once = self.most_at_once = 0
        self.bad: dict[str, Exception] = {}
        self.begun, self.free = asyncio.Event(), asyncio.Event()
        self.free.set()

    async def __call__(self, items: list[str]) -> list[str]:
        self.batches.append(items)
        self.begun.set()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0)
            await self.free.wait()
        finally:
            self.at_once -= 1
        for item in items:
            if item in self.bad:
                raise self.bad[item]
        return [item.upper() for item in items]


@pytest.fixture
async def writes() -> Writes:
    return Writes()


def group(writes: Writes, **options) -> GroupCommit[str, str]:
    return GroupCommit(writes, **{"batch": 10, "writers": 1, **options})


async def add_all(commit: GroupCommit[str, str], items: str) -> list[str | BaseException]:
    return await asyncio.gather(*map(commit.add, items), return_exceptions=True)


async def test_what_comes_during_a_write_goes_in_the_next_one(writes: Writes):
    commit = group(writes)
    writes.free.clear()
    first = asyncio.create_task(commit.add("a"))
    await writes.begun.wait()
    rest = asyncio.create_task(add_all(commit, "bcd"))
    await asyncio.sleep(0)
    writes.free.set()
    assert (await first, await rest) == ("A", ["B", "C", "D"])
    assert writes.batches == [["a"], ["b", "c", "d"]]


async def test_a_batch_has_a_size_and_writers_a_number(writes: Writes):
    letters = "abcdefghijklmnopqrstuvwxyz"
    assert await add_all(group(writes, batch=5, writers=2), letters) == list(letters.upper())
    assert max(map(len, writes.batches)) == 5
    assert writes.most_at_once == 2


async def test_a_lingering_writer_waits_for_company(writes: Writes):
    commit = group(writes, linger=0.01)
    first = asyncio.create_task(commit.add("a"))
    await asyncio.sleep(0.001)
    assert await commit.add("b") == "B"
    assert await first == "A"
    assert writes.batches == [["a", "b"]]


async def test_one_bad_item_fails_alone(writes: Writes):
    writes.bad["b"] = ValueError("bad b")
    a, b, c = await add_all(group(writes), "abc")
    assert (a, str(b), c) == ("A", "bad b", "C")
    assert writes.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]


async def test_a_database_that_is_away_is_not_asked_item_by_item(writes: Writes):
    writes.bad["b"] = Unavailable("away")
    assert await add_all(group(writes), "abc") == [writes.bad["b"]] * 3
    assert len(writes.batches) == 1


async def test_a_writer_goes_on_after_a_failure(writes: Writes):
    commit = group(writes)
    writes.bad["a"] = ValueError("bad a")
    with pytest.raises(ValueError, match="bad a"):
        await commit.add("a")
    async with asyncio.timeout(10):
        assert await commit.add("b") == "B"


@pytest.mark.parametrize("writers", [1, 2])
async def test_callers_that_come_back_at_once_do_not_wait_for_ever(writes: Writes, writers: int):
    commit = group(writes, writers=writers)

    async def come_again(letter: str) -> None:
        for _ in range(20):
            assert await commit.add(letter) == letter.upper()

    async with asyncio.timeout(10):
        await asyncio.gather(*(come_again(letter) for letter in "abc"[:writers]))


async def test_beyond_a_number_that_waits_all_are_refused_at_once(writes: Writes):
    commit = group(writes, waiting=2)
    writes.free.clear()
    running = asyncio.create_task(commit.add("a"))
    await writes.begun.wait()
    waiting = [asyncio.create_task(commit.add(item)) for item in "bc"]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await commit.add("d")
    assert caught.value.retry_after == 1
    writes.free.set()
    assert [await running, *[await task for task in waiting]] == ["A", "B", "C"]
    assert await commit.add("d") == "D"


@pytest.mark.parametrize("bad", [False, True])
async def test_a_caller_that_goes_away_takes_nothing_with_it(writes: Writes, bad: bool):
    commit = group(writes)
    if bad:
        writes.bad["a"] = ValueError("bad a")
    writes.free.clear()
    leaver = asyncio.create_task(commit.add("a"))
    stayer = asyncio.create_task(commit.add("b"))
    await writes.begun.wait()
    leaver.cancel()
    await asyncio.sleep(0)
    writes.free.set()
    assert await stayer == "B"
    assert leaver.cancelled()
    assert ["a", "b"] in writes.batches
