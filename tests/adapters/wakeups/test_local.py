"""Local wake-ups: a verb is called back at once or later, once for the earliest of several times."""

import asyncio

from gateway.adapters.wakeups.local import LocalWakeups
from tests.adapters.own_valkey import until


async def test_a_due_verb_is_called_back_at_once() -> None:
    heard: list[str] = []
    local = LocalWakeups()
    local.wake_now("submit")
    local.wake_later("submit", 0.0)
    local.call_back(heard.append)
    assert heard == []
    local.wake_now("poll")
    assert heard == ["poll"]


async def test_each_verb_is_called_back_at_the_earliest_of_several_times() -> None:
    heard: list[str] = []
    local = LocalWakeups()
    local.call_back(heard.append)
    for seconds in (30.0, 0.05, 60.0):
        local.wake_later("submit", seconds)
        local.wake_later("poll", seconds + 0.1)
    await until(lambda: heard == ["submit", "poll"])
    local.wake_later("submit", 0.05)  # the first one has fired, so this is a new one
    await until(lambda: heard == ["submit", "poll", "submit"])


async def test_nothing_is_called_back_once_stopped() -> None:
    heard: list[str] = []
    local = LocalWakeups()
    local.call_back(heard.append)
    local.wake_later("submit", 0.01)
    local.stop()
    local.wake_later("submit", 0.01)
    local.wake_now("poll")
    await asyncio.sleep(0.05)
    assert heard == []
