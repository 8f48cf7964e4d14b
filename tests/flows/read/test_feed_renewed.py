"""The feed begins a new epoch when the database went back, or is another cluster's."""

from gateway.flows.claim.mark_in_doubt import renew_feed
from gateway.flows.maintain.sweep import sweep
from tests.flows.world import World

_EPOCH = "SELECT epoch FROM beacon"


async def test_a_sweep_in_the_same_cluster_changes_no_epoch(world: World):
    before = await world.value(_EPOCH)
    for _ in range(3):
        await sweep(world.deps)
    await renew_feed(world.deps)
    assert await world.value(_EPOCH) == before
    assert world.seen("feed") == []
    assert await world.value("SELECT horizon > 0 AND cluster IS NOT NULL FROM beacon")


async def test_another_cluster_is_noticed_by_the_first_sweep_and_once(world: World):
    before = await world.value(_EPOCH)
    await sweep(world.deps)
    await world.run("UPDATE beacon SET cluster = cluster + 1")
    for _ in range(3):
        await sweep(world.deps)
    assert await world.value(_EPOCH) == before + 1
    ((outcome, fields),) = world.seen("feed")
    assert (outcome, fields["events"]) == ("renewed", 0)


async def test_a_horizon_that_is_ahead_is_noticed_without_any_identity(world: World):
    before = await world.value(_EPOCH)
    await sweep(world.deps)
    await world.run("UPDATE beacon SET horizon = horizon + 1000000, cluster = NULL")
    for _ in range(2):
        await sweep(world.deps)
    assert await world.value(_EPOCH) == before + 1
    assert await world.value("SELECT horizon < 1000000 FROM beacon")


async def test_a_database_that_went_back_begins_a_new_epoch_first(world: World):
    before = await world.value(_EPOCH)
    for _ in range(3):
        await sweep(world.deps)
    await world.run("UPDATE beacon SET count = count - 2")
    await sweep(world.deps)
    await sweep(world.deps)
    assert await world.value(_EPOCH) == before + 1
    assert [outcome for outcome, _ in world.seen("restore")] == ["distrusted"]
