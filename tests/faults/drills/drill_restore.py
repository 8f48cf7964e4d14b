"""Postgres goes back to a backup while the upstream, the receivers and Valkey went on."""

import asyncio

import pytest

from gateway.embedded import create_database, drop_database
from tests.faults.checker import check
from tests.faults.drills.drill import query, submit_many, until_ended
from tests.faults.harness.drain import drain
from tests.faults.harness.history import History
from tests.faults.harness.rig import Rig
from tests.faults.harness.world import World, start_world

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("accepted_only", [False, True], ids=["at the upstream", "accepted"])
async def test_37_a_restored_backup_makes_no_second_submit(
    rig: Rig, *, accepted_only: bool
) -> None:
    """The backup knows the jobs, in the one case as sent, in the other as still to be sent."""
    async with start_world(rig) as world:
        history = History(world)
        if not accepted_only:
            await world.work()
        await submit_many(history, 10, run=8)
        if not accepted_only:
            await asyncio.sleep(1.5)
        await _pause(world)
        await create_database(rig.postgres, f"{world.name}_backup", world.name)
        await world.serve()
        await world.work()
        await until_ended(history, history.entries, 40)
        await drain(world, 20)
        await _pause(world)
        await drop_database(rig.postgres, world.name)
        await create_database(rig.postgres, world.name, f"{world.name}_backup")
        await world.serve()
        await world.work()
        await until_ended(history, history.entries, 60)
        await drain(world, 30)
        breaches = await check(history)
        # A start that only the lost hours knew of does not come again once the job has ended.
        starts = {one["webhookId"] for one in await rig.received() if one["type"] == "job.started"}
        assert [one for one in breaches if not any(id_ in one for id_ in starts)] == []


async def _pause(world: World) -> None:
    """Nobody may be connected to a database that is copied."""
    await world.stop()
    for _ in range(50):
        open_ = "SELECT 1 FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()"
        if not await query(world, open_, world.name):
            return
        await asyncio.sleep(0.1)
