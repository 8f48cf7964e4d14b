"""Pruning where the jobs are in partitions: those that are kept longest go with their month."""

import asyncio
from collections import Counter

import pytest

from gateway.core.model import Limits
from gateway.flows.maintain.prune import prune_now
from tests.flows.maintain.test_prune import later, lived
from tests.flows.world import World
from tests.partitioned import partition_jobs


@pytest.fixture(scope="module")
def database_url(database_url: str) -> str:
    """The jobs of this module are partitioned."""
    asyncio.run(partition_jobs(database_url))
    return database_url


async def test_the_jobs_that_are_kept_longest_wait_for_their_month(world: World):
    await lived(world, slug="long")
    await lived(world, slug="short", keep_jobs=5)
    at = later(world, 31, 35, jobs=30)
    assert await prune_now(at.deps) == {"long": Counter(), "short": Counter(jobs=1)}


async def test_they_go_by_row_if_nobody_drops_the_month(world: World):
    await lived(world)
    at = later(world, 66, 35, jobs=30)
    assert await prune_now(at.deps) == {"acme": Counter(jobs=1)}


async def test_no_job_waits_for_a_month_that_somebody_keeps_for_ever(world: World):
    await lived(world)
    await world.tenant("archive", limits=Limits(keep_jobs=0))
    at = later(world, 31, 35, jobs=30)
    assert (await prune_now(at.deps))["acme"] == Counter(jobs=1)
