"""Usage: counted in the transaction that does it, so it never drifts, and read by any grouping."""

import asyncio
import random
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gateway.core.histogram import RELATIVE_ERROR
from gateway.core.lifecycle import Finish, cancelled, error_of, expired
from gateway.core.model import JobState, Tenant
from gateway.errors import BadRequest, NotFound, Unavailable
from gateway.flows.deliver.sample import try_endpoint
from gateway.flows.maintain.check_usage import check_usage
from gateway.flows.maintain.prune import prune_now
from gateway.flows.process.slots import Slots
from gateway.flows.settle import usage
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.settle.usage import Group, read_usage
from gateway.flows.upstream.delete_job import delete_job
from tests.flows.fakes import reply
from tests.flows.scenes import owe
from tests.flows.world import HOOK, World

DONE = Finish(JobState.SUCCEEDED, result="{}")
BAD = Finish(JobState.FAILED, error=error_of("TIMEOUT", "Timeout", "Too slow."))
NOW = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)


async def read(world: World, *group_by: str, tenant: Tenant | None = None) -> list[Group]:
    visible = None if tenant is None else [tenant.id]
    return await read_usage(world.deps, group_by, visible, None, None, turn=asyncio.Lock())


async def drifts(world: World, *, fix: bool = False) -> list[tuple[str, int]]:
    found = check_usage(world.deps.db, fix=fix, page=2, rows_at_once=5)
    return [(f"{slug} {one.roll_up}", one.jobs) async for slug, one in found]


async def settle_all(world: World, ids: list[UUID], finish: Finish = DONE) -> None:
    async with world.deps.db.begin() as tx:
        await settle(tx, world.deps, [ending(id_, finish) for id_ in ids])


# --- Read ---------------------------------------------------------------------------------------


async def test_usage_tells_what_ended_how_and_how_long_it_took(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    ids = await world.at_upstream(acme, 4)
    (again,) = await world.at_upstream(acme, workflow="chords", retry_of=ids[0])
    await world.run(
        "UPDATE job SET created_at = now() - interval '10 s', submitted_at = now() - interval '6 s'"
    )
    waiting = await world.accept_one(acme)
    await world.run("UPDATE job SET created_at = now() - interval '90 s' WHERE id = $1", waiting)
    await settle_all(world, ids[:1], BAD)
    await settle_all(world, [*ids[1:], again])
    await settle_all(world, [waiting], expired())
    await world.ended(other)
    one, two, three = await read(world, "tenant", "workflow", tenant=None)
    assert (one.by, two.by, three.by) == (("acme", "chords"), ("acme", "stems"), ("other", "stems"))
    assert (one.jobs, one.succeeded, one.failed, one.retried) == (1, 1, 0, 1)
    assert one.failed_by_code == {}
    assert (two.jobs, two.succeeded, two.failed, two.retried) == (5, 3, 2, 0)
    assert two.failed_by_code == {"DEADLINE_EXCEEDED": 1, "TIMEOUT": 1}
    wait, run, total = two.queue_wait, two.run, two.end_to_end
    assert wait is not None
    assert run is not None
    assert total is not None
    assert wait.mean == pytest.approx((4 * 4 + 90) / 5, abs=0.5)
    assert (wait.p50, wait.p99) == pytest.approx((4, 90), rel=RELATIVE_ERROR + 0.02)
    assert run == pytest.approx((6, 6, 6, 6), rel=RELATIVE_ERROR + 0.1)
    assert total.p99 == pytest.approx(90, rel=RELATIVE_ERROR + 0.02)
    assert await drifts(world) == []


async def test_of_what_never_ran_no_time_is_told(world: World):
    tenant = await world.tenant()
    (nothing,) = await read(world)
    assert (nothing.jobs, nothing.queue_wait, nothing.run, nothing.end_to_end) == (0, *[None] * 3)
    await settle_all(world, [await world.accept_one(tenant)], cancelled())
    (group,) = await read(world, tenant=tenant)
    assert group.queue_wait is not None
    assert group.run is None


async def test_a_tenant_sees_its_own_usage(world: World):
    acme, other = await world.tenant(), await world.tenant("other")
    await world.ended(acme, 2)
    await world.ended(other, 3)
    assert [g.jobs for g in await read(world, tenant=acme)] == [2]
    assert [
        g.jobs for g in await read_usage(world.deps, [], [], None, None, turn=asyncio.Lock())
    ] == [0]
    assert [
        g.jobs
        for g in await read_usage(
            world.deps, [], [acme.id, other.id], None, None, turn=asyncio.Lock()
        )
    ] == [5]
    assert [g.jobs for g in await read(world)] == [5]


async def test_by_status_there_is_no_row_of_starts(world: World):
    """It would have no jobs, and read as a fault."""
    tenant = await world.tenant(hook=HOOK)
    await world.at_upstream(tenant)
    world.upstream.move("STARTED")
    await world.poll_soon()
    assert await world.deliver_all() == 1
    world.upstream.move("SUCCEEDED")
    await world.poll_again(1)
    assert await world.deliver_all() == 1
    rows = await read(world, "status")
    assert [(row.by, row.jobs, row.webhooks_delivered) for row in rows] == [(("SUCCEEDED",), 1, 1)]
    rows = await read(world)
    assert [(row.jobs, row.webhooks_delivered) for row in rows] == [(1, 2)]
    assert [row.jobs for row in await read(world, "workflow")] == [1]


async def test_from_and_to_are_cut_to_their_hour(world: World):
    (job_id,) = await world.at_upstream(await world.tenant())
    await world.run("UPDATE job SET created_at = $1", NOW)
    await settle_all(world, [job_id], Finish(JobState.SUCCEEDED, completed_at=NOW))
    half, hour = timedelta(minutes=29), timedelta(hours=1)

    async def jobs(since: datetime | None, until: datetime | None) -> int:
        return (await read_usage(world.deps, [], None, since, until, turn=asyncio.Lock()))[0].jobs

    assert await jobs(NOW + half, None) == 1
    assert await jobs(NOW + hour, None) == 0
    assert await jobs(None, NOW + half) == 0
    assert await jobs(None, NOW + hour - half) == 1


@pytest.mark.parametrize(
    ("group_by", "since", "until", "field"),
    [
        (["day", "colour"], None, None, "groupBy"),
        ([], NOW, NOW + timedelta(minutes=29), "to"),
        ([], NOW, NOW - timedelta(days=1), "to"),
        ([], datetime.min.replace(tzinfo=UTC), None, "from"),
        ([], None, datetime.max.replace(tzinfo=UTC), "to"),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(
    world: World,
    group_by: list[str],
    since: datetime | None,
    until: datetime | None,
    field: str,
):
    with pytest.raises(BadRequest) as refused:
        await read_usage(world.deps, group_by, None, since, until, turn=asyncio.Lock())
    assert [error.field for error in refused.value.errors] == [field]


async def test_more_groups_than_anybody_reads_are_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    tenant = await world.tenant()
    for name in "abc":
        await world.ended(tenant, batch_name=name)
    monkeypatch.setattr(usage, "MAX_GROUPS", 3)
    assert len(await read(world, "batch")) == len(await read(world, "batch", "hour")) == 3
    monkeypatch.setattr(usage, "MAX_GROUPS", 2)
    for columns in (["batch"], ["batch", "workflow"]):
        with pytest.raises(BadRequest, match="more than 2 groups"):
            await read(world, *columns)


# --- Webhooks -----------------------------------------------------------------------------------


async def webhooks(world: World) -> tuple[int, int]:
    (group,) = await read(world)
    return group.webhooks_delivered, group.webhooks_failed


async def test_webhooks_are_counted_when_they_come_to_their_end(world: World):
    await owe(world, 3)
    world.sender.will(HOOK, reply(500), reply(200), reply(200))
    await world.deliver()
    assert await webhooks(world) == (2, 0)
    world.sender.always[HOOK] = reply(500)
    for _ in range(9):
        await world.run("UPDATE delivery SET next_at = now()")
        await world.deliver()
    assert await webhooks(world) == (2, 1)
    assert await drifts(world) == []
    await world.run("UPDATE delivery SET state = 'pending', lease_token = NULL, next_at = now()")
    world.sender.always[HOOK] = reply(200)
    while await world.deliver():
        pass
    assert await webhooks(world) == (5, 1), "what is sent again and delivered counts again"
    assert await drifts(world) == []


async def test_a_receiver_that_is_gone_has_failed(world: World):
    await owe(world)
    world.sender.will(HOOK, reply(410))
    await world.deliver()
    assert await webhooks(world) == (0, 1)
    assert await drifts(world) == []


async def test_an_attempt_whose_lease_was_lost_ends_nothing(world: World):
    await owe(world)

    async def take_away() -> None:
        world.sender.gate = None
        await world.run("UPDATE delivery SET lease_token = NULL, next_at = now()")
        await world.other_process(slots=Slots(world.clock)).deliver()

    world.sender.gate = take_away
    await world.deliver()
    assert len(world.sender.sent) == 2
    assert await webhooks(world) == (1, 0)
    assert await drifts(world) == []


async def test_an_end_that_is_recorded_twice_is_counted_once(world: World):
    """As after a commit of which nobody heard."""
    await owe(world)
    heard = iter([False, True])

    def crash_point(point: str) -> None:
        if point == "deliver.committed" and not next(heard):
            raise Unavailable("who knows")

    await world.other_process(crash_point=crash_point).deliver()
    assert next(heard, None) is None
    assert await webhooks(world) == (1, 0)
    assert await drifts(world) == []


async def test_a_trial_is_no_usage(world: World):
    tenant = await world.tenant()
    endpoint = await world.endpoint(tenant, HOOK)
    await try_endpoint(world.deps, tenant, endpoint)
    assert await webhooks(world) == (0, 0)
    assert await drifts(world) == []


# --- Check --------------------------------------------------------------------------------------


async def test_every_tenant_and_day_is_checked_and_put_right(world: World):
    tenants = [await world.tenant(slug) for slug in ("a", "b", "c", "d")]
    await world.tenant("idle")
    for tenant in tenants:
        for days in range(3):
            ids = await world.at_upstream(tenant, 3)
            at = NOW + days * timedelta(days=1)
            await world.run("UPDATE job SET created_at = $1 WHERE completed_at IS NULL", at)
            await settle_all(world, ids, Finish(JobState.SUCCEEDED, completed_at=at))
    assert await drifts(world) == []
    await world.rows("TRUNCATE usage_hourly, usage_daily")
    lost = [(f"{slug} hourly", 3) for slug in "abcd" for _ in range(3)]
    assert await drifts(world) == lost
    assert await drifts(world, fix=True) == lost
    assert await drifts(world) == []
    assert [(g.by, g.jobs) for g in await read(world, "tenant")] == [((s,), 9) for s in "abcd"]


async def test_without_tenants_there_is_nothing_to_check(world: World):
    assert await drifts(world) == []


async def test_usage_survives_what_is_pruned(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant, 3)
    await world.deliver()
    before = await read(world, "day", "workflow", "status")
    await world.run("UPDATE tenant SET keep_jobs = 1, keep_attempts = 1, keep_events = 1")
    later = world.other_process(clock=_Later())
    assert await prune_now(later.deps) != {}
    assert await world.value("SELECT count(*) FROM job") == 0
    assert await drifts(world, fix=True) == []
    assert await read(world, "day", "workflow", "status") == before


# --- Whatever happens ---------------------------------------------------------------------------


class _Play:
    """Draws what happens next, in two processes at once, one of which may die in the middle."""

    def __init__(self, world: World, tenants: list[Tenant], rng: random.Random) -> None:
        self.world = world
        self.tenants = tenants
        self.rng = rng
        self.jobs: list[tuple[Tenant, UUID]] = []

    async def step(self) -> None:
        acts = [self.accept, self.settle, self.settle, self.delete, self.deliver, self.retry]
        await self.rng.choice(acts)()

    async def accept(self, **fields: object) -> None:
        tenant = self.rng.choice(self.tenants)
        batch = self.rng.choice([None, "b"])
        ids = await self.world.accept(
            tenant,
            self.rng.randint(1, 4),
            workflow=self.rng.choice("vw"),
            batch_name=batch,
            **fields,
        )
        self.jobs += [(tenant, id_) for id_ in ids]
        if self.rng.random() < 0.7:
            while await self.world.submit():
                pass

    async def retry(self) -> None:
        if self.jobs:
            await self.accept(retry_of=self.rng.choice(self.jobs)[1])

    async def settle(self) -> None:
        """Two that settle the same jobs at once, in different orders and ways."""
        some = [id_ for _, id_ in self.rng.sample(self.jobs, min(5, len(self.jobs)))]
        ends = [(some, DONE), (some[::-1], self.rng.choice([BAD, expired()]))]
        await asyncio.gather(*(self._settle(ids, finish) for ids, finish in ends))

    async def _settle(self, ids: list[UUID], finish: Finish) -> None:
        died = self.rng.random() < 0.3
        with suppress(_DiedError):
            async with self.world.deps.db.begin() as tx:
                await settle(tx, self.world.deps, [ending(id_, finish) for id_ in ids])
                if died:
                    raise _DiedError

    async def delete(self) -> None:
        if self.jobs:
            tenant, job_id = self.rng.choice(self.jobs)
            with suppress(NotFound, _DiedError):
                await delete_job(self._mortal("delete.marked").deps, tenant.id, job_id)

    async def deliver(self) -> None:
        await self.world.run("UPDATE delivery SET next_at = now() WHERE state = 'pending'")
        statuses = self.rng.choices([200, 500, 410], [6, 4, 0.3], k=8)
        self.world.sender.will(HOOK, *(reply(status) for status in statuses))
        other = self._mortal("deliver.recorded").other_process(slots=Slots(self.world.clock))
        await asyncio.gather(self.world.deliver(5), other.deliver(5))
        self.world.failures.clear()

    def _mortal(self, point: str) -> World:
        dies = self.rng.random() < 0.3

        def crash_point(at: str) -> None:
            if dies and at == point:
                raise _DiedError

        return self.world.other_process(crash_point=crash_point)


class _DiedError(Exception):
    pass


class _Later:
    """The clock of next year."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=365)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("seed", range(3))
async def test_usage_never_drifts(world: World, seed: int):
    """Retries, deletes, settles of the same jobs at once, deaths in the middle of a transaction."""
    tenants = [await world.tenant(slug, hook=HOOK) for slug in ("a", "b")]
    play = _Play(world, tenants, random.Random(seed))
    await play.accept()
    for _ in range(30):
        await play.step()
    assert await drifts(world) == []
    ended = await world.value("SELECT count(*) FROM job WHERE completed_at IS NOT NULL")
    retried = await world.value(
        "SELECT count(*) FROM job WHERE completed_at IS NOT NULL AND retry_of IS NOT NULL"
    )
    for group_by in (
        [],
        ["tenant", "status"],
        ["day", "workflow"],
        ["hour", "batch"],
        ["errorCode"],
    ):
        groups = await read(world, *group_by)
        assert sum(group.jobs for group in groups) == ended > 0
        assert sum(group.retried for group in groups) == retried
        assert sum(sum(group.failed_by_code.values()) for group in groups) == sum(
            group.failed for group in groups
        )
