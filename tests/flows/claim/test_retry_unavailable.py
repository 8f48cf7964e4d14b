"""Patience: what is known is written as soon as the database is back, up to a limit."""

from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.store.database import Database
from tests.flows.fakes import StepClock, reply
from tests.flows.world import HOOK, World


class Failing:
    """Fails so often, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.left, self.error, self.calls = times, error, 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.left:
            raise self.error
        return "done"


async def test_an_act_is_repeated_until_the_database_is_back():
    clock, act = StepClock(), Failing(3, Unavailable("away"))
    assert await retry_while_unavailable(clock, clock.monotonic() + 10, act) == "done"
    assert act.calls == 4


async def test_patience_has_an_end():
    clock, act = StepClock(), Failing(100, Unavailable("away"))
    until = clock.monotonic() + 2.2
    with pytest.raises(Unavailable):
        await retry_while_unavailable(clock, until, act)
    assert clock.monotonic() <= until
    assert act.calls == 5


async def test_any_other_error_is_not_waited_out():
    clock, act = StepClock(), Failing(1, ValueError("bad"))
    with pytest.raises(ValueError, match="bad"):
        await retry_while_unavailable(clock, clock.monotonic() + 10, act)
    assert act.calls == 1


class Flickering:
    """A database that is away for the next few times that it is asked, from a crash point on."""

    def __init__(self, database: Database, point: str, times: int) -> None:
        self._database, self._point, self._times = database, point, times
        self.away = 0

    def crash_point(self, point: str) -> None:
        if point == self._point:
            self.away, self._times = self._times, 0

    def begin(self) -> Any:
        return self._asked("begin")

    def single(self) -> Any:
        return self._asked("single")

    def _asked(self, how: str) -> Any:
        if self.away:
            self.away -= 1
            raise Unavailable("away")
        return getattr(self._database, how)()


def away_from(world: World, point: str, times: int) -> World:
    database = Flickering(world.deps.db, point, times)
    return world.other_process(db=database, crash_point=database.crash_point)


async def test_a_submit_that_was_answered_is_recorded_once_the_database_is_back(world: World):
    job_id = await world.accept_one(await world.tenant())
    await away_from(world, "submit.sent", 3).submit()
    assert (await world.job(job_id)).state == "submitted"
    assert len(world.upstream.sent) == 1


async def test_an_attempt_is_recorded_once_the_database_is_back(world: World):
    await world.ended(await world.tenant(hook=HOOK))
    world.sender.will(HOOK, reply(410))
    await away_from(world, "deliver.sent", 3).deliver()
    assert [row.state for row in await world.deliveries()] == ["parked"]
    assert len(world.sender.sent) == 1


@pytest.mark.parametrize("times", [1, 3])
async def test_a_credential_is_given_back_though_its_round_found_no_database(
    world: World, times: int
):
    await world.at_upstream(await world.tenant())
    world.upstream.move("SUCCEEDED")
    await away_from(world, "poll.claimed", times).poll()
    health = await world.health()
    assert health.poll_lease_until is None
    assert 0.0 < health.poll_in <= 0.25
    await world.poll_again()
    assert await world.states() == {"succeeded": 1}


async def test_a_database_that_stays_away_leaves_the_row_to_its_lease(world: World):
    job_id = await world.accept_one(await world.tenant())
    await away_from(world, "submit.sent", 1000).submit()
    assert isinstance(world.failures.pop()["exception"], Unavailable)
    await world.pass_time(31)
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert len(world.upstream.sent) == 1
