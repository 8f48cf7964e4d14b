"""Nudges: a verb is called back at once or later, and of several times at the earliest."""

import asyncio

from gateway.adapters.wakeups.local import LocalWakeups
from tests.adapters.own_valkey import until


async def test_what_is_due_is_called_back_at_once() -> None:
    heard: list[str] = []
    nudges = LocalWakeups()
    nudges.now("submit")
    nudges.later("submit", 0.0)
    nudges.to(heard.append)
    assert heard == []
    nudges.now("poll")
    assert heard == ["poll"]


async def test_of_several_times_the_earliest_counts_for_each_verb() -> None:
    heard: list[str] = []
    nudges = LocalWakeups()
    nudges.to(heard.append)
    for seconds in (30.0, 0.05, 60.0):
        nudges.later("submit", seconds)
        nudges.later("poll", seconds + 0.1)
    await until(lambda: heard == ["submit", "poll"])
    nudges.later("submit", 0.05)  # after that there is room for a new one
    await until(lambda: heard == ["submit", "poll", "submit"])


async def test_nothing_is_called_back_once_stopped() -> None:
    heard: list[str] = []
    nudges = LocalWakeups()
    nudges.to(heard.append)
    nudges.later("submit", 0.01)
    nudges.stop()
    nudges.later("submit", 0.01)
    nudges.now("poll")
    await asyncio.sleep(0.05)
    assert heard == []
