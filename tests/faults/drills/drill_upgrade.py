"""Upgrades, downgrades and partitions under load, with old and new code side by side."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from typing_extensions import override

from gateway import __version__
from gateway.core.months import PartitionMonth
from gateway.core.uuid7 import first_id
from gateway.embedded import create_database
from gateway.store.partitions.operations import turn_on
from gateway.store.partitions.switch_on import month_to_begin
from tests.faults.drills.drill import drill, query, steady_load
from tests.faults.harness.drain import drain
from tests.faults.harness.history import History, job
from tests.faults.harness.old_code import OldCode, Release, old_code, releases
from tests.faults.harness.rig import Rig, make_template, run_command
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

# docs/upgrades.md promises that each of them works beside the newest code.
_RELEASES = releases(since="0001")
# All steps down to a schema that the checker can read, and the last step alone.
_BACK_TO = [one for one in _RELEASES if one.revision in ("0008", _RELEASES[-1].revision)]
_NO_HISTORY = pytest.param(
    None, marks=pytest.mark.skip(reason="the history of the code is not here: a full clone has it")
)
_TRIES = 5
_PHASE_SECONDS = 1.0
_SOON_SECONDS = 8.0
_FAILED = "SELECT * FROM attempt WHERE status IS DISTINCT FROM 200"
_PRESENT = "SELECT version_num FROM alembic_version"


def _each(found: list[Release]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "release", found or [_NO_HISTORY], ids=lambda one: getattr(one, "revision", "none")
    )


@_each(_RELEASES)
async def test_45_old_code_goes_on_while_new_code_takes_over(rig: Rig, release: Release) -> None:
    """From the schema of a release to the newest one, beneath API and worker of that release."""
    async with old_code(release, rig.folder) as old, _old_template(rig, release, old) as template:

        async def make_database(name: str) -> None:
            await create_database(rig.postgres, name, template)

        async with drill(
            rig,
            f"45 upgrade from {release.revision}",
            links=False,
            fork_server=old,
            make_database=make_database,
        ) as history:
            world = history.world
            elder, api = await world.work(), world.api
            assert await _revision(world) == release.revision
            async with steady_load(history, run=0.5):
                await _works(world)
                world.fork_server = rig.fork_server
                await run_command(rig, world.env, "db", "upgrade")
                await asyncio.sleep(_PHASE_SECONDS)  # the old code alone, on the new schema
                younger = await world.work()
                await world.move()
                await asyncio.sleep(_PHASE_SECONDS)
                assert api is not None
                assert (await elder.stop(), await api.stop()) == (0, 0)
                await asyncio.sleep(_PHASE_SECONDS)  # the new code alone
            assert younger.alive
            await _nothing_failed(history)


@_each(_BACK_TO)
async def test_46_the_schema_goes_back_beneath_old_code(rig: Rig, release: Release) -> None:
    """From the newest schema back to that of a release, which runs on both."""
    async with (
        old_code(release, rig.folder) as old,
        drill(rig, f"46 back to {release.revision}", links=False, fork_server=old) as history,
    ):
        world = history.world
        await world.work()
        async with steady_load(history, run=0.5):
            await _works(world)
            await _downgrade(rig, world, release.revision)
            await asyncio.sleep(_PHASE_SECONDS)
        await _nothing_failed(history)


class _Soon(PartitionMonth):
    """A month that begins in a few seconds, as far as a test can wait for."""

    @property
    @override
    def first(self) -> UUID:
        return first_id(self.begins_at)

    begins_at = datetime.min.replace(tzinfo=UTC)


async def test_47_the_jobs_are_partitioned_and_put_together_again(rig: Rig) -> None:
    """Beneath an API and a worker: jobs fall into two partitions, and come back into one table."""
    async with drill(rig, "47 partitions", links=False) as history:
        world = history.world
        await world.work()
        async with steady_load(history, run=0.5):
            await _works(world)
            for _ in range(2):
                await _partition(world)
                await asyncio.sleep(_PHASE_SECONDS)
                await _repeat_the_first(history)
                await run_command(rig, world.env, "db", "partition", "off", "--yes")
                await _repeat_the_first(history)
                await asyncio.sleep(_PHASE_SECONDS)
        await _nothing_failed(history)


async def _partition(world: World) -> None:
    """Partition the jobs, and wait until some are in the second partition."""
    _Soon.begins_at = datetime.now(UTC) + timedelta(seconds=_SOON_SECONDS)
    soon = _Soon(*month_to_begin(_Soon.begins_at))
    switched = await turn_on(world.database, print, soon, __version__)
    assert switched is not None
    print(f"locked for {switched.seconds:.2f} s")
    await until(lambda: query(world, "SELECT 1 FROM job WHERE id >= $1", soon.first), 60)
    places = await query(world, "SELECT DISTINCT tableoid::regclass::text FROM job")
    assert {row[0] for row in places} == {"job_old", f"job_{soon.name}"}


async def _repeat_the_first(history: History) -> None:
    """The first job of all, asked for again with its key: the answer is its id."""
    first = history.entries[0]
    answer = await history.world.ask(
        "POST", "/v1/job", first.tenant.key, job(run=0.5), idempotency_key=first.given_key
    )
    assert (answer.status_code, answer.json()["id"]) == (200, str(first.job_id))


@asynccontextmanager
async def _old_template(rig: Rig, release: Release, old: OldCode) -> AsyncGenerator[str]:
    """A database as the release made it, with a key of its operator, which the rig uses meanwhile."""
    name, usual = f"faults_{release.revision}", rig.operator_key
    rig.operator_key = await make_template(rig, name, old)
    try:
        yield name
    finally:
        rig.operator_key = usual


async def _downgrade(rig: Rig, world: World, revision: str) -> None:
    """As an operator does: again, if a migration did not get its locks in time."""
    for _ in range(_TRIES):
        with suppress(AssertionError):
            await run_command(rig, world.env, "db", "downgrade", revision, "--yes")
        if await _revision(world) == revision:
            return
    pytest.fail(f"the schema did not come back to {revision}")


async def _works(world: World) -> None:
    """Wait until the old worker has started, and ended a job."""
    await until(lambda: query(world, "SELECT 1 FROM job WHERE completed_at IS NOT NULL"), 60)


async def _revision(world: World) -> str:
    return (await query(world, _PRESENT))[0][0]


async def _nothing_failed(history: History) -> None:
    """No call, and no webhook, once all of them have come."""
    await drain(history.world, 60)
    assert history.calls == {"ok": len(history.entries), "failed": 0, "unknown": 0}
    assert not await query(history.world, _FAILED)
