"""docs/backups.md on Debian's PostgreSQL: its commands are run while a whole gateway has jobs under way."""

import asyncio
import base64
import json
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.checker import check
from tests.faults.drills.drill import query, steady_load, submit_many, until_ended
from tests.faults.harness.drain import drain
from tests.faults.harness.history import Entry, History
from tests.faults.harness.rig import run_command, start_rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Tenant, World, start_world
from tests.real_servers.pages.cluster import OWNER, Cluster
from tests.real_servers.pages.page import follow

# Each starts one or two clusters and a whole gateway.
pytestmark = pytest.mark.timeout(300)

_PAGE = "backups.md"
_SECONDS = 60
_ENDED = "SELECT count(*) FROM job WHERE completed_at IS NOT NULL"


@asynccontextmanager
async def deployed(server: Cluster) -> AsyncGenerator[History]:
    """A whole gateway whose login is a plain owner, with two tenants and one worker."""
    async with start_rig(server.postgres()) as rig:
        await rig.postgres.sql(
            f"CREATE ROLE {OWNER} LOGIN",
            f"GRANT gateway_tenant TO {OWNER}",
            f"CREATE DATABASE {OWNER} OWNER {OWNER} TEMPLATE template0 ENCODING 'UTF8'",
        )
        env = {**rig.env(OWNER), "GATEWAY_DATABASE_URL": server.url()}
        await run_command(rig, env, "db", "upgrade")
        made = await run_command(rig, env, "key", "create", "--operator", "--name", "x", "--json")
        rig.operator_key = json.loads(made)["accessKey"]
        async with start_world(rig, name=OWNER, GATEWAY_DATABASE_URL=server.url()) as world:
            await world.work()
            try:
                yield History(world)
            except BaseException:
                print(world.complaints())
                raise


def settings(world: World, tenant: Tenant | None = None) -> dict[str, str]:
    """What is set on a host of the gateway."""
    access = {"GATEWAY_ACCESS_KEY": tenant.key} if tenant else {}
    operator = {"GATEWAY_API": world.url, "GATEWAY_OPERATOR_KEY": world.rig.operator_key}
    return {**world.env, **operator, **access}


async def start(world: World) -> None:
    await world.serve()
    await world.work()


async def submit(history: History, count: int, **job: Any) -> list[Entry]:
    """Submit so many jobs; the entries of these alone."""
    before = len(history.entries)
    await submit_many(history, count, **job)
    return history.entries[before:]


async def feed_after(world: World, tenant: Tenant, after: str = "") -> list[dict[str, Any]]:
    """All that a reader of the feed gets who goes on after an event, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        place = f"&after={found[-1]['id'] if found else after}" if found or after else ""
        page = await world.told("GET", f"/v1/event?size=1000{place}", tenant.key)
        if not page:
            return found
        found += page


async def last_of_feed(world: World, tenant: Tenant) -> str:
    """The event that a reader of the feed saw last."""
    return (await feed_after(world, tenant))[-1]["id"]


def jobs_told(events: Sequence[dict[str, Any]]) -> set[str]:
    return {one["data"]["id"] for one in events if one["type"] == "job.succeeded"}


def logged(world: World, event: str, outcome: str) -> list[dict[str, Any]]:
    """Lines of the log of the workers."""
    lines = [json.loads(line) for line in world.log("worker").splitlines() if line[:1] == "{"]
    return [one for one in lines if (one["event"], one.get("outcome")) == (event, outcome)]


async def submissions(world: World, entries: Sequence[Entry]) -> list[int]:
    """How often each job was submitted to the upstream."""
    stats = [await world.rig.observe(f"/stats?marker={one.job_id}") for one in entries]
    return [one["submissions"] for one in stats]


async def told_to_receivers(world: World) -> set[str]:
    """The jobs whose success a receiver was told, and believed."""
    received = await world.rig.received()
    return {
        one["jobId"] for one in received if one["type"] == "job.succeeded" and not one["reason"]
    }


async def breaches_but(history: History, lost: Sequence[Entry]) -> list[str]:
    """The broken promises, but for those about jobs that the restored database does not know."""
    received = await history.world.rig.received()
    gone = {str(one.job_id) for one in lost}
    gone |= {one["webhookId"] for one in received if one["jobId"] in gone}
    # A start that only the lost hours knew of does not come again once the job has ended.
    gone |= {one["webhookId"] for one in received if one["type"] == "job.started"}
    return [one for one in await check(history) if not any(id_ in one for id_ in gone)]


@dataclass(slots=True)
class Past:
    """The jobs of a gateway by where they were when its backup was made."""

    running: Sequence[Entry]
    waiting: Sequence[Entry]
    lost: Sequence[Entry] = ()
    seen: str = ""


async def jobs_under_way(history: History) -> Past:
    """Some jobs have ended, some run at the upstream, some wait and no worker is there."""
    await until_ended(history, await submit(history, 4), _SECONDS)
    running = await submit(history, 4, run=6)
    await until(lambda: _have_state(history.world, running, "running"), _SECONDS)
    await history.world.workers[0].stop()
    return Past(running, await submit(history, 6))


async def _have_state(world: World, entries: Sequence[Entry], state: str) -> bool:
    ids = [one.job_id for one in entries]
    rows = await query(world, "SELECT state FROM job WHERE id = ANY($1)", ids)
    return all(row["state"] == state for row in rows)


async def hours_that_are_lost(history: History, past: Past) -> None:
    """After the backup all jobs end, and more come and end; then everything is stopped."""
    world = history.world
    (beacon,) = await query(world, "SELECT count FROM beacon")
    await world.work()
    past.lost = await submit(history, 4)
    await until_ended(history, history.entries, _SECONDS)
    await drain(world, _SECONDS)
    past.seen = await last_of_feed(world, world.tenants[0])
    # A restore that loses less than one sweep goes unnoticed.
    await until(lambda: query(world, "SELECT 1 FROM beacon WHERE count > $1", beacon[0]), 20)
    await world.stop()


async def goes_on_without_harm(history: History, past: Past) -> None:
    """What docs/backups.md promises after a restore."""
    world = history.world
    await start(world)
    known = [one for one in history.entries if one not in past.lost]
    await until_ended(history, known, _SECONDS)
    later = await submit(history, 2)
    await until_ended(history, later, _SECONDS)
    await drain(world, _SECONDS)
    assert sum(one["jobs"] for one in logged(world, "restore", "distrusted")) == len(past.waiting)
    assert len(logged(world, "feed", "renewed")) == 1
    assert await submissions(world, history.entries) == [1] * len(history.entries)
    assert {str(one.job_id) for one in (*known, *later)} <= await told_to_receivers(world)
    await _feed_goes_on(world, past, later)
    for one in past.lost:
        answer = await world.ask("GET", f"/v1/job/{one.job_id}", one.tenant.key)
        assert answer.status_code == 404
        history.entries.remove(one)
    assert await breaches_but(history, past.lost) == []


async def _feed_goes_on(world: World, past: Past, later: Sequence[Entry]) -> None:
    tenant = world.tenants[0]
    mine = {str(one.job_id) for one in later if one.tenant is tenant}

    async def is_told() -> bool:  # the feed shows an event once all older transactions have ended
        return mine <= jobs_told(await feed_after(world, tenant, past.seen))

    await until(is_told, 20)


def at(server: Cluster, world: World) -> None:
    """Have a stopped world use the database in another server."""
    world.env["GATEWAY_DATABASE_URL"] = server.url()
    world.database = server.postgres().url_of(OWNER)


async def test_a_database_goes_back_to_a_moment_with_jobs_under_way(cluster: Cluster) -> None:
    async with deployed(cluster) as history:
        await follow(cluster, _PAGE, "Archive the log")
        past = await jobs_under_way(history)
        moment = (await query(history.world, "SELECT clock_timestamp()::text"))[0][0]
        await asyncio.sleep(1)
        await hours_that_are_lost(history, past)
        await follow(cluster, _PAGE, "Restore to a moment", MOMENT=moment)
        await goes_on_without_harm(history, past)


async def test_a_dump_goes_on_in_a_new_server(cluster: Cluster, other_cluster: Cluster) -> None:
    async with deployed(cluster) as history:
        world = history.world
        past = await jobs_under_way(history)
        await follow(cluster, _PAGE, "Make a dump", **settings(world))
        await hours_that_are_lost(history, past)
        await follow(other_cluster, _PAGE, "Prepare a new server")
        shutil.copy(cluster.folder / "gateway.dump", other_cluster.folder)
        at(other_cluster, world)
        new = {"NEW_DATABASE_URL": other_cluster.url()}
        await follow(other_cluster, _PAGE, "Restore a dump", **settings(world), **new)
        await goes_on_without_harm(history, past)


async def test_a_move_to_another_server_loses_nothing(
    cluster: Cluster, other_cluster: Cluster
) -> None:
    async with deployed(cluster) as history:
        world = history.world
        await follow(other_cluster, _PAGE, "Prepare a new server")
        async with steady_load(history, per_second=4, run=1):
            new = {"NEW_DATABASE_URL": other_cluster.url()}
            await follow(cluster, _PAGE, "Publish on the old server", **settings(world), **new)
            old = f"host=127.0.0.1 port={cluster.port} user=postgres dbname={OWNER}"
            await follow(other_cluster, _PAGE, "Subscribe on the new server", OLD_SERVER=old)
            # The first round of the sweep stores which cluster this is.
            await until(lambda: query(world, "SELECT 1 FROM beacon WHERE cluster IS NOT NULL"), 30)
            await asyncio.sleep(2)
        seen = await last_of_feed(world, world.tenants[0])
        began = time.monotonic()
        await world.stop()
        await follow(cluster, _PAGE, "Wait for the last change")
        at(other_cluster, world)
        await follow(other_cluster, _PAGE, "Switch over", **settings(world))
        await start(world)
        print(f"\nstopped for {time.monotonic() - began:.1f} s")
        later = await submit(history, 4)
        await until_ended(history, history.entries, _SECONDS)
        await drain(world, _SECONDS)
        await until(lambda: asyncio.to_thread(logged, world, "feed", "renewed"), 20)
        assert logged(world, "restore", "distrusted") == []
        await _feed_goes_on(world, Past((), (), (), seen), later)
        assert await check(history) == []


async def test_the_gateway_goes_on_without_its_master_key(cluster: Cluster) -> None:
    async with deployed(cluster) as history:
        world = history.world
        await jobs_under_way(history)
        await world.stop()
        ended = await query(world, _ENDED)
        (held,) = json.loads(await run_command(world.rig, world.env, "secret", "status", "--json"))
        world.env["GATEWAY_MASTER_KEY"] = base64.b64encode(os.urandom(32)).decode()
        given = {**settings(world), "LOST": held["key"]}
        await follow(cluster, _PAGE, "Give the lost key up", **given)
        await start(world)
        await asyncio.sleep(2)
        assert await query(world, _ENDED) == ended
        for tenant in world.tenants:
            (cluster.folder / "upstream-key").write_text(tenant.upstream_key)
            given = {
                **settings(world, tenant),
                "TENANT": tenant.slug,
                "ENDPOINT": tenant.endpoint_id,
            }
            told = await follow(cluster, _PAGE, "Set the secrets anew", **given)
            await world.trust(tenant, re.findall(r"whsec_[\w+/=]+", told)[-1])
            await world.told("POST", "/v1/endpoint/default-secret/rotate", tenant.key, {})
        await until_ended(history, history.entries, _SECONDS)
        await drain(world, _SECONDS)
        assert await submissions(world, history.entries) == [1] * len(history.entries)
        assert {str(one.job_id) for one in history.entries} <= await told_to_receivers(world)
