"""History from a streaming standby of Debian's PostgreSQL: what is read there, and what is never."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from gateway.store.migration.migrate import upgrade_schema
from tests.real_servers.postgres import RealPostgres, make_owner
from tests.real_servers.replication.replica_scene import (
    JOBS,
    LOGIN,
    Servers,
    Watched,
    jobs,
    watched,
)
from tests.real_servers.replication.standby import standby_of
from tests.web.conftest import World, next_page

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

# What only the statements of a route say.
_HISTORY = {
    "/v1/job": JOBS,
    "/v1/job?format=ndjson": JOBS,
    "/v1/delivery": "FROM delivery",
    "/v1/usage": "usage_",
    "/admin/v1/audit": "FROM audit",
    "/admin/v1/tenant/{slug}/export": "FROM job",
}


@pytest.fixture(scope="module")
def database_url(server: RealPostgres) -> str:
    """A plain owner's database, whose statements both servers log."""
    url = make_owner(server, LOGIN)
    upgrade_schema(url)
    server.sql(f"ALTER ROLE {LOGIN} SET log_statement = 'all'")
    return url


@pytest.fixture(scope="module")
def servers(server: RealPostgres, database_url: str) -> Iterator[Servers]:
    with standby_of(server) as standby:
        yield Servers(server, standby)


@pytest_asyncio.fixture(loop_scope="module")
async def api(world: World, servers: Servers) -> AsyncIterator[Watched]:
    """An application whose replica is in use."""
    async with watched(world, servers.url) as made:
        await made.becomes("")
        world.client = made.client
        servers.forget()
        yield made


@pytest.mark.parametrize("path", _HISTORY)
async def test_history_is_read_from_the_standby(
    world: World, acme: str, servers: Servers, api: Watched, path: str
) -> None:
    key = world.operator if path.startswith("/admin") else acme
    answer = await world.call("GET", path.format(slug=acme), key)
    assert answer.status_code == 200
    assert servers.who_answered(_HISTORY[path]) == {"standby"}


async def test_what_a_caller_has_just_written_is_read_from_the_primary(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    job = await world.job(acme)
    for path in (f"/v1/job/{job}", f"/v1/job/{job}/event", "/v1/event", "/v1/endpoint"):
        await world.get(path, acme)
    assert servers.who_answered("FROM job", "FROM event", "FROM endpoint") == {"primary"}


async def test_an_idle_primary_is_no_lag(servers: Servers, api: Watched) -> None:
    """Nothing is replayed for long, and a new segment of the WAL begins with a header."""
    await asyncio.to_thread(servers.primary.sql, "CHECKPOINT", "SELECT pg_switch_wal()")
    await asyncio.sleep(4.5)
    await api.replica.check()
    assert api.codes == [""]
    assert (api.replica.lag or 0.0) < 3


async def test_a_replica_that_lags_is_left_and_used_again_when_it_is_near(
    world: World, acme: str, servers: Servers
) -> None:
    async with watched(world, servers.url, most_lag=2.0) as api:
        await api.becomes("")
        world.client = api.client
        servers.forget()
        await servers.pause()
        job = await world.job(acme)
        fitness = await api.becomes("late")
        assert re.fullmatch(r"it lags by \d+\.\d s", fitness.cause)
        assert await jobs(world, acme) == [job]
        assert servers.who_answered(JOBS) == {"primary"}
        await servers.resume()
        answered = set[str]()
        async with asyncio.timeout(20):  # a busy machine may make it late once more
            while answered != {"standby"}:
                servers.forget()
                assert await jobs(world, acme) == [job]
                answered = set(servers.who_answered(JOBS))
                await asyncio.sleep(0.1)
    assert api.codes[:3] == ["", "late", ""]


async def test_a_page_after_a_cursor_misses_nothing_that_the_first_page_could_show(
    world: World, acme: str, servers: Servers
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    async with (
        watched(world, nowhere) as first,
        watched(world, servers.url, most_lag=300) as second,
    ):
        await second.becomes("")
        await servers.pause()
        made = [await world.job(acme) for _ in range(3)]
        world.client = second.client
        assert await jobs(world, acme) == []  # the start of a list may be as old as the limit
        world.client = first.client
        page = await world.call("GET", "/v1/job?size=1", acme)
        found = [one["id"] for one in page.json()]
        world.client = second.client
        for _ in range(2):
            page = await world.call("GET", next_page(page), acme)
            found += [one["id"] for one in page.json()]
        await servers.resume()
    assert found == made[::-1]


async def test_a_later_page_comes_from_the_standby_once_it_has_what_the_first_could_show(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    made = [await world.job(acme) for _ in range(3)]
    nowhere = "postgresql://nobody@127.0.0.1:1/nowhere"
    async with watched(world, nowhere) as other:
        world.client = other.client
        page = await world.call("GET", "/v1/job?size=1", acme)
        assert servers.who_answered(JOBS) == {"primary"}
    world.client = api.client
    await asyncio.sleep(2.5)  # a second for clocks that differ, and one until the next check
    found = [one["id"] for one in page.json()]
    for _ in range(2):
        page = await world.call("GET", next_page(page), acme)
        found += [one["id"] for one in page.json()]
    assert found == made[::-1]
    assert servers.who_answered(JOBS) == {"standby"}


async def test_a_page_by_its_number_is_from_the_primary(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    """Where the newest rows are missing, an offset would skip older ones."""
    made = [await world.job(acme) for _ in range(2)]
    assert [one["id"] for one in await world.get("/v1/job?size=1&page=1", acme)] == made[:1]
    assert servers.who_answered(JOBS) == {"primary"}


async def test_who_asks_for_what_is_new_is_answered_by_the_primary(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    await jobs(world, acme, "&createdAfter=2024-01-01T00:00:00Z")
    assert servers.who_answered(JOBS) == {"primary"}
    await jobs(world, acme, "&createdAfter=2024-01-01T00:00:00Z&createdBefore=2024-02-01T00:00:00Z")
    assert servers.who_answered(JOBS) == {"standby"}


async def test_an_export_has_what_was_written_before_it_was_asked_for(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    for number in range(1, 4):
        await world.job(acme)
        answer = await world.call("GET", "/v1/job?format=ndjson", acme)
        assert len(answer.text.splitlines()) == number
    assert servers.who_answered(JOBS) == {"standby"}


async def test_an_export_does_not_wait_for_a_standby_that_lags(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    await servers.pause()
    await world.job(acme)
    answer = await world.call("GET", "/v1/job?format=ndjson", acme)
    await servers.resume()
    assert len(answer.text.splitlines()) == 1
    assert servers.who_answered(JOBS) == {"primary"}
