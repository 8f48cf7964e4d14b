"""Claiming: what a claim took whose answer was lost is taken again at once, as if never taken."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.errors import Unavailable
from gateway.store.database import Database, Tx
from tests.flows.fakes import reply
from tests.flows.scenes import in_doubt
from tests.flows.world import HOOK, World

Claim = Callable[[World], Awaitable[int]]


class Losing(Database):
    """A database whose next answer is lost on its way, and that is away for some time after."""

    def __init__(self, database: Database, away: int = 0) -> None:
        self._database, self._away = database, away
        self._loses = True

    @asynccontextmanager
    async def single(self) -> AsyncGenerator[Tx]:
        async with self._opened("single") as tx:
            yield tx

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[Tx]:
        async with self._opened("begin") as tx:
            yield tx

    @asynccontextmanager
    async def _opened(self, how: str) -> AsyncGenerator[Tx]:
        if not self._loses and self._away:
            self._away -= 1
            raise Unavailable("away")
        async with getattr(self._database, how)() as tx:
            yield tx
        if self._loses:
            self._loses = False
            raise Unavailable("lost")


async def lost(world: World, claim: Claim, away: int = 0) -> World:
    """Claim, without hearing what was taken; the process that did."""
    process = world.other_process(db=Losing(world.deps.db, away))
    with pytest.raises(Unavailable, match="lost"):
        await claim(process)
    await process.idle()
    return process


@pytest.mark.parametrize("away", [0, 5])
async def test_jobs_are_submitted_at_once_and_count_one_attempt(world: World, away: int):
    job_id = await world.accept_one(await world.tenant())
    await lost(world, World.submit, away)
    assert world.queue.wakes[-1] == ("submit", 0.0)
    assert await world.submit() == 1
    job = await world.job(job_id)
    assert (job.state, job.submit_attempts, job.strikes) == ("submitted", 1, 0)
    assert len(world.upstream.sent) == 1


async def test_jobs_in_doubt_are_looked_up_at_once(world: World):
    (job_id,) = await in_doubt(world, await world.tenant(), taken=True)
    await lost(world, World.look_up)
    assert await world.look_up() == 1
    assert (await world.job(job_id)).state == "submitted"
    assert len(world.upstream.sent) == 1


async def test_credentials_are_polled_at_once_and_are_not_suspect(world: World):
    await world.at_upstream(await world.tenant())
    world.upstream.move("SUCCEEDED")
    await lost(world, World.poll)
    health = await world.health()
    assert (health.poll_strikes, health.poll_lease_until) == (0, None)
    assert await world.poll() == 1
    assert await world.states() == {"succeeded": 1}


async def test_webhooks_are_sent_at_once_and_count_one_attempt(world: World):
    await world.ended(await world.tenant(hook=HOOK))
    world.sender.will(HOOK, reply(204))
    await lost(world, World.deliver)
    assert await world.deliver() == 1
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts, delivery.strikes) == ("delivered", 1, 0)
    assert len(world.sender.sent) == 1


async def test_what_somebody_else_took_stays_theirs(world: World):
    tenant = await world.tenant()
    mine, theirs = await world.accept(tenant, 2)
    await world.run("UPDATE job SET next_at = now() + interval '1 hour' WHERE id = $1", theirs)
    await world.run(
        "UPDATE job SET state = 'submitting', credential_id = (SELECT id FROM credential),"
        " lease_token = gen_random_uuid() WHERE id = $1",
        theirs,
    )
    await lost(world, World.submit)
    assert (await world.job(mine)).state == "accepted"
    assert (await world.job(theirs)).state == "submitting"


async def test_a_database_that_stays_away_leaves_all_to_its_lease(world: World):
    job_id = await world.accept_one(await world.tenant())
    await lost(world, World.submit, away=1000)
    assert (await world.job(job_id)).state == "submitting"
    await world.pass_time(31)
    assert await world.look_up() == 1


async def test_where_no_connection_was_had_there_is_nothing_to_give_back(world: World):
    database = Losing(world.deps.db, away=1)
    process = world.other_process(db=database)
    with pytest.raises(Unavailable, match="lost"):
        async with database.single():
            pass
    with pytest.raises(Unavailable, match="away"):
        await process.submitter.claim(10)
    assert not process.deps.slots.used("submit")
