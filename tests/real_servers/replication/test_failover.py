"""Failover under load: the primary dies, its synchronous standby is promoted, nobody restarts the gateway."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
import pytest_asyncio

from tests.faults.drills.drill import drill, query, submit_many, until_ended
from tests.faults.harness.history import Entry, History, job
from tests.faults.harness.rig import Rig, run_command, start_rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World
from tests.real_servers.postgres import make_owner
from tests.real_servers.replication.replicated import Pair, replicated

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

_NAME = "failover"
_SECONDS = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    async with start_rig() as started:
        yield started


@pytest.fixture
def pair() -> Iterator[Pair]:
    with replicated() as both:
        yield both


async def _prepare(rig: Rig, pair: Pair) -> None:
    """A database with its schema and an operator, owned by a plain login."""
    await asyncio.to_thread(make_owner, pair.old, _NAME)
    env = rig.env(_NAME) | {"GATEWAY_DATABASE_URL": pair.url(_NAME)}
    await run_command(rig, env, "db", "upgrade")
    made = await run_command(rig, env, "key", "create", "--operator", "--name", "f", "--json")
    rig.operator_key = json.loads(made)["accessKey"]


async def test_a_synchronous_standby_takes_over_and_nothing_is_lost(rig: Rig, pair: Pair) -> None:
    async with drill(
        rig,
        "Postgres failover",
        links=False,
        make_database=lambda _: _prepare(rig, pair),
        GATEWAY_DATABASE_URL=pair.url(_NAME),
    ) as history:
        world = history.world
        world.database = pair.new.url(_NAME)
        for _ in range(2):
            await world.work()
        async with _reading(world) as seen:
            load = asyncio.create_task(submit_many(history, 300, 10.0, run=0.5))
            await asyncio.sleep(3)
            await asyncio.to_thread(pair.kill_primary)
            killed = time.monotonic()
            await asyncio.sleep(2)  # until somebody has noticed
            await asyncio.to_thread(pair.promote)
            promoted = time.monotonic()
            accepted = await _next_accept(history)
            claimed = await _next_submit(history)
            await load
            print(
                f"\nkilled to promoted {promoted - killed:.2f} s, promoted to the next accept"
                f" {accepted - promoted:.2f} s, to the next submit {claimed - promoted:.2f} s"
            )
            await until_ended(history, history.entries, _SECONDS)
            await _until_all_is_read(world, seen)
        assert all(child.alive for child in (world.api, *world.workers) if child)
        assert not _doubts(world)


async def test_a_repeat_is_not_answered_before_the_job_is_confirmed(rig: Rig, pair: Pair) -> None:
    """A commit whose wait for the standby was given up is visible on the primary, and may be lost."""
    async with drill(
        rig,
        "standby away",
        links=False,
        make_database=lambda _: _prepare(rig, pair),
        GATEWAY_DATABASE_URL=pair.url(_NAME),
    ) as history:
        world = history.world
        world.database = pair.old.url(_NAME)
        pair.signal_standby(signal.SIGSTOP)
        entry = Entry(world.tenants[0], "unconfirmed")
        history.entries.append(entry)
        for _ in range(2):
            with suppress(httpx.ReadTimeout):  # the answer comes after 12 s, and later when busy
                answer = await world.ask(
                    *("POST", "/v1/job", entry.tenant.key, job()),
                    idempotency_key=entry.idempotency_key,
                )
                assert answer.status_code == 503, answer.text
        pair.signal_standby(signal.SIGCONT)
        await world.work()
        await submit_many(history, 5)


async def test_the_primary_is_replaced_while_it_still_runs(rig: Rig, pair: Pair) -> None:
    """Nobody confirms its commits any more, so it acknowledges none, and the gateway leaves it."""
    async with drill(
        rig,
        "Postgres replaced, not ended",
        links=False,
        make_database=lambda _: _prepare(rig, pair),
        GATEWAY_DATABASE_URL=pair.url(_NAME),
    ) as history:
        world = history.world
        world.database = pair.new.url(_NAME)
        for _ in range(2):
            await world.work()
        async with _reading(world) as seen:
            load = asyncio.create_task(submit_many(history, 300, 10.0, run=0.5))
            await asyncio.sleep(3)
            await asyncio.to_thread(pair.promote)
            promoted = time.monotonic()
            await load
            print(f"\npromoted to the last accept {time.monotonic() - promoted:.2f} s")
            await until_ended(history, history.entries, _SECONDS)
            await _until_all_is_read(world, seen)
        assert not _doubts(world)


@asynccontextmanager
async def _reading(world: World) -> AsyncIterator[set[str]]:
    """The ids of the events that readers of the streams have got so far."""
    seen: set[str] = set()

    async def read(key: str) -> None:
        last = {}
        async with httpx.AsyncClient(base_url=world.url, timeout=None) as client:
            while True:
                headers = {"Authorization": key, **last}
                with suppress(httpx.HTTPError):
                    async with client.stream("GET", "/v1/event/stream", headers=headers) as stream:
                        async for line in stream.aiter_lines():
                            if line.startswith("id: "):
                                last = {"Last-Event-ID": line.removeprefix("id: ")}
                            if line.startswith("data: "):
                                seen.add(json.loads(line.removeprefix("data: "))["id"])
                await asyncio.sleep(0.2)

    readers = [asyncio.create_task(read(tenant.key)) for tenant in world.tenants]
    try:
        yield seen
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _until_all_is_read(world: World, seen: set[str]) -> None:
    events = {str(row["id"]) for row in await query(world, "SELECT id FROM event")}

    async def is_read() -> bool:
        return events <= seen

    try:
        await until(is_read, 10)
    except TimeoutError:
        raise AssertionError(f"{len(events - seen)} of {len(events)} events not read") from None


async def _next_accept(history: History) -> float:
    before = history.calls["ok"]

    async def is_accepted() -> bool:
        return history.calls["ok"] > before

    await until(is_accepted, _SECONDS)
    return time.monotonic()


async def _next_submit(history: History) -> float:
    (row,) = await query(history.world, "SELECT now() AS at")

    async def is_submitted() -> bool:
        sql = "SELECT 1 FROM job WHERE submitted_at > $1 LIMIT 1"
        return bool(await query(history.world, sql, row["at"]))

    await until(is_submitted, _SECONDS)
    return time.monotonic()


def _doubts(world: World) -> list[str]:
    """What the log says of a database that went back in time, or of another cluster."""
    lines = (world.log("serve") + world.log("worker")).splitlines()
    return [one for one in lines if '"distrusted"' in one or '"renewed"' in one]
