"""The beacon as one process knows it, and claims and sweeps that race with each other."""

import asyncio
from uuid import UUID

from gateway.core.model import Limits
from gateway.flows.maintain.sweep import sweep
from gateway.flows.process.restore_detector import RestoreDetector, is_behind
from gateway.flows.submit.submitter import Submitter
from tests.flows.world import World

HERE, THERE = UUID(int=1), UUID(int=2)
CLAIMS = 1500
JOBS = 2500
PROCESSES = 2


def test_a_number_that_grows_or_stays_is_well():
    beacon = RestoreDetector()
    for count in (5, 5, 6):
        assert not is_behind(beacon.known, HERE, count)
        beacon.learn({HERE: count})
    assert beacon.after(HERE) == 7


def test_a_lower_number_is_behind_until_a_higher_one_is_set():
    beacon = RestoreDetector()
    beacon.learn({HERE: 9})
    assert is_behind(beacon.known, HERE, 8)
    beacon.learn({HERE: 8})
    assert is_behind(beacon.known, HERE, 8), "a lower number teaches nothing"
    beacon.learn({HERE: beacon.after(HERE)})
    assert is_behind(beacon.known, HERE, 9)
    assert not is_behind(beacon.known, HERE, 10)


def test_databases_that_share_a_redis_are_not_taken_for_one_another():
    beacon = RestoreDetector()
    beacon.learn({HERE: 100})
    assert not is_behind(beacon.known, THERE, 1)
    assert beacon.after(UUID(int=3)) == 1


def test_what_is_known_elsewhere_is_taken_over_where_it_is_more():
    beacon = RestoreDetector()
    beacon.learn({HERE: 7})
    beacon.learn({HERE: 3, THERE: 4})
    assert dict(beacon.known) == {HERE: 7, THERE: 4}
    beacon.learn({})
    assert beacon.after(HERE) == 8


def test_what_is_learned_later_does_not_change_what_was_known():
    beacon = RestoreDetector()
    beacon.learn({HERE: 7})
    before = beacon.known
    beacon.learn({HERE: 8})
    assert not is_behind(before, HERE, 7)
    assert is_behind(beacon.known, HERE, 7)


async def test_claims_and_sweeps_that_race_put_nothing_in_doubt(world: World):
    """A claim whose snapshot is older than a commit that its process has heard of is no restore."""
    tenant = await world.tenant(limits=Limits(max_in_flight=JOBS))
    processes = [
        world,
        *(world.other_process(restore_detector=RestoreDetector()) for _ in range(PROCESSES - 1)),
    ]
    is_over = asyncio.Event()

    async def sweeps(process: World) -> int:
        rounds = 0
        while not is_over.is_set():
            await sweep(process.deps)
            rounds += 1
        return rounds

    async def claims(process: World) -> int:
        submitter, claimed = Submitter(process.deps), 0
        for _ in range(CLAIMS):
            claimed += await submitter.claim(1)
        return claimed

    await world.accept(tenant, JOBS)
    sweeping = [asyncio.create_task(sweeps(process)) for process in processes]
    claimed = await asyncio.gather(*(claims(process) for process in processes))
    is_over.set()
    rounds = sum(await asyncio.gather(*sweeping))
    await world.idle()
    assert rounds > PROCESSES
    assert sum(claimed) == JOBS
    assert world.seen("restore") == []
    assert world.upstream.count("page") == 0
    assert await world.states() == {"submitted": JOBS}
