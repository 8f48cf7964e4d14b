"""Usage by day: with its total, and what is remembered of all tenants."""

from datetime import datetime, timedelta

from gateway.core.lifecycle import cancelled
from gateway.flows.settle.usage import Group
from gateway.flows.settle.usage_days import UsageDays
from tests.flows.settle.test_usage import read, settle_all
from tests.flows.world import World

DAY = timedelta(days=1)


def month(world: World) -> tuple[datetime, datetime]:
    """The days around now."""
    today = world.clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return today - 20 * DAY, today + 10 * DAY


async def age(world: World, days: int) -> None:
    """Move what was counted into the past."""
    async with world.deps.db.begin() as tx:
        await tx.run(f"UPDATE usage_daily SET day = day - interval '{days} days'")


async def jobs(reports: UsageDays, world: World) -> list[int]:
    days, total = await reports.read(None, *month(world))
    assert (total.jobs if total else 0) == sum(one.jobs for one in days)
    return [one.jobs for one in days]


async def test_days_come_with_their_total(world: World):
    tenant, reports = await world.tenant(), UsageDays(world.deps)
    assert await reports.read([tenant.id], *month(world)) == ([], None)
    await world.ended(tenant, 3)
    await settle_all(world, [await world.accept_one(tenant)], cancelled())
    (whole,) = await read(world, tenant=tenant)
    for visible in ([tenant.id], None):
        days, total = await reports.read(visible, *month(world))
        assert sum(day.jobs for day in days) == 4
        assert total is not None
        names = [name for name in Group.__slots__ if name != "by"]
        assert [getattr(total, name) for name in names] == [getattr(whole, name) for name in names]


async def test_of_all_tenants_days_that_are_over_are_remembered_for_a_while(world: World):
    tenant, reports = await world.tenant(), UsageDays(world.deps)
    await world.ended(tenant, 3)
    await age(world, 5)
    assert await jobs(reports, world) == [3]
    await world.ended(tenant, 2)
    assert await jobs(reports, world) == [3, 2], "today is read each time"
    await age(world, 3)
    assert await jobs(reports, world) == [3]
    assert await jobs(UsageDays(world.deps), world) == [3, 2]
    world.clock.advance(601)
    assert await jobs(reports, world) == [3, 2]


async def test_months_that_are_over_and_still_to_come_are_read_too(world: World):
    tenant, reports = await world.tenant(), UsageDays(world.deps)
    await world.ended(tenant, 2)
    today = month(world)[0] + 20 * DAY
    assert await reports.read(None, today - 40 * DAY, today - 20 * DAY) == ([], None)
    days, _ = await reports.read(None, today, today + DAY)
    assert [one.jobs for one in days] == [2]
    for number in range(102):  # more than it remembers
        since = today - (number + 20) * DAY
        assert await reports.read(None, since, since + DAY) == ([], None)
