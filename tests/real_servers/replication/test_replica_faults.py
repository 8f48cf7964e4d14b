"""A read replica that is killed, promoted, in the way of replay, or another cluster's: no request fails."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace

import httpx
import pytest
import pytest_asyncio

from gateway.core.policy import Policy
from gateway.errors import Unavailable
from gateway.flows.process.history_reader import HistoryReader
from gateway.flows.read.export import export_jobs
from gateway.store.database import Database
from gateway.store.job_search.filter import JobFilter
from gateway.store.migration.migrate import upgrade_schema
from tests.builders import ids_in
from tests.cli.commands import run, settings_for
from tests.real_servers.postgres import RealPostgres, make_owner, real_postgres
from tests.real_servers.process import running
from tests.real_servers.replication.replica_scene import (
    JOBS,
    LOGIN,
    Servers,
    Watched,
    jobs,
    sql,
    watched,
)
from tests.real_servers.replication.standby import standby_of
from tests.web.conftest import World

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

_PROMOTED = "it is no standby: it was promoted, or follows no primary"


@pytest.fixture(scope="module")
def database_url(server: RealPostgres) -> str:
    """A plain owner's database, whose statements both servers log."""
    url = make_owner(server, LOGIN)
    upgrade_schema(url)
    server.sql(f"ALTER ROLE {LOGIN} SET log_statement = 'all'")
    return url


@pytest.fixture
def servers(server: RealPostgres, database_url: str) -> Iterator[Servers]:
    """The standby is new, because the test before spoilt its own."""
    with standby_of(server) as standby:
        yield Servers(server, standby)


@pytest.fixture(scope="module")
def stranger() -> Iterator[Servers]:
    """A gateway of its own in another cluster, with a standby."""
    with real_postgres() as other:
        upgrade_schema(make_owner(other, LOGIN))
        with standby_of(other) as standby:
            yield Servers(other, standby)


@pytest_asyncio.fixture(loop_scope="module")
async def api(world: World, servers: Servers) -> AsyncIterator[Watched]:
    """An application whose replica is in use."""
    async with watched(world, servers.url) as made:
        await made.becomes("")
        world.client = made.client
        servers.forget()
        yield made


async def _kill(standby: RealPostgres) -> None:
    standby.process.send_signal(signal.SIGQUIT)
    await asyncio.to_thread(standby.process.wait, 20)


def _restarted(standby: RealPostgres) -> AbstractContextManager[object]:
    ready = [str(standby.bin / "pg_isready"), "-q", "-h", "localhost", "-p", str(standby.port)]
    return running(
        [str(standby.bin / "postgres"), "-D", str(standby.folder / "data")],
        standby.folder,
        lambda: subprocess.run(ready, check=False).returncode == 0,
    )


async def test_a_killed_standby_fails_no_request_and_is_used_again(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    job, over = await world.job(acme), asyncio.Event()
    headers = {"Authorization": world.keys[acme]}
    answers: list[httpx.Response] = []

    async def list_jobs() -> None:
        while not over.is_set():
            answers.append(await world.client.get("/v1/job", headers=headers))

    readers = [asyncio.create_task(list_jobs()) for _ in range(4)]
    await asyncio.sleep(0.5)
    await _kill(servers.standby)
    await api.becomes("away")
    assert (await world.client.get("/health/ready")).json()["status"] == "ok"
    with _restarted(servers.standby):
        await api.becomes("")
        await asyncio.sleep(0.3)
        over.set()
        await asyncio.gather(*readers)
        assert {answer.status_code for answer in answers} == {200}
        assert [one["id"] for one in answers[-1].json()] == [job]
    assert api.codes[:3] == ["", "away", ""]


async def test_an_export_goes_on_when_the_standby_is_killed(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    made = [await world.job(acme) for _ in range(12)]
    deps = replace(world.deps, replica=api.replica, policy=Policy(export_page=2))
    wanted, found = JobFilter(((await world.find(acme)).id,)), list[str]()
    async with aclosing(export_jobs(deps, wanted, "json", None)) as pages:
        async for page in pages:
            found += [str(one) for one in ids_in(page)]
            if len(found) == 4:
                assert servers.who_answered(JOBS) == {"standby"}
                await _kill(servers.standby)
    assert found == made[::-1]
    assert servers.who_answered(JOBS) == {"primary"}


async def test_a_read_that_replay_cancels_is_repeated_on_the_primary(
    world: World, servers: Servers, api: Watched
) -> None:
    delay = "ALTER SYSTEM SET max_standby_streaming_delay = 0"
    await sql(servers.standby.url(), delay, "SELECT pg_reload_conf()")
    asked: list[Database] = []

    async def read(database: Database) -> int:
        asked.append(database)
        seconds = 5 if len(asked) == 1 else 0
        async with database.begin() as tx:
            row = await tx.one("SELECT count(*)::int, pg_sleep($1) FROM beacon", seconds)
            return row[0]

    reading = asyncio.create_task(HistoryReader(world.deps.db, api.replica).read(read))
    await asyncio.sleep(0.5)
    lock = "DO $$ BEGIN LOCK TABLE beacon IN ACCESS EXCLUSIVE MODE; END $$"
    await sql(servers.primary.url(LOGIN), lock)
    async with asyncio.timeout(20):
        assert await reading == 1
    assert asked == [api.replica.database, world.deps.db]
    assert api.replica.is_fit  # the server is well, only this read was in the way


async def test_a_statement_that_takes_too_long_is_not_repeated(world: World, api: Watched) -> None:
    async def read(database: Database) -> None:
        async with database.begin() as tx:
            await tx.prepare("SET LOCAL statement_timeout = '50ms'")
            await tx.rows("SELECT pg_sleep(5)")

    with pytest.raises(Unavailable, match="took too long"):
        await HistoryReader(world.deps.db, api.replica).read(read)
    assert api.replica.is_fit


async def test_a_promotion_is_noticed(
    world: World, acme: str, servers: Servers, api: Watched
) -> None:
    await sql(servers.standby.url(), "SELECT pg_promote()")
    assert (await api.becomes("unfit")).cause == _PROMOTED
    job = await world.job(acme)
    assert await jobs(world, acme) == [job]


async def test_a_standby_that_follows_another_primary_is_refused(
    world: World, servers: Servers
) -> None:
    """As after a failover that the gateway's address does not follow: the identifiers are the same."""
    promoted = servers.standby
    await sql(promoted.url(), "SELECT pg_promote()")
    with standby_of(promoted, "grandchild") as grandchild:
        more = "CREATE TABLE more AS SELECT generate_series(1, 50000)"
        await sql(promoted.url(), more, "CHECKPOINT")
        async with watched(world, grandchild.url(LOGIN, LOGIN)) as made:
            assert (await made.becomes("unfit")).cause == (
                "it is ahead of the primary, so it follows another one"
            )


async def test_a_server_that_is_no_standby_is_refused(world: World, stranger: Servers) -> None:
    async with watched(world, stranger.primary.url(LOGIN, LOGIN)) as made:
        assert made.replica.fitness.cause == _PROMOTED


async def test_a_standby_of_another_cluster_is_refused(
    world: World, server: RealPostgres, stranger: Servers
) -> None:
    identifier = "SELECT system_identifier FROM pg_control_system()"
    (ours,), (theirs,) = [await sql(one.url(), identifier) for one in (server, stranger.primary)]
    async with watched(world, stranger.url) as made:
        assert made.replica.fitness.cause == (
            f"it belongs to another Postgres cluster: {theirs} and not {ours}"
        )


async def test_the_beacon_tells_it_where_the_identifier_may_not_be_read(
    world: World, server: RealPostgres, stranger: Servers
) -> None:
    function = "EXECUTE ON FUNCTION pg_control_system()"
    await sql(server.url(LOGIN), f"REVOKE {function} FROM public")
    try:
        async with watched(world, stranger.url) as made:
            assert made.replica.fitness.cause == "it holds the database of another gateway"
    finally:
        await sql(server.url(LOGIN), f"GRANT {function} TO public")


def _said(database_url: str, replica_url: str, *command: str) -> str:
    ours = {**settings_for(database_url), "GATEWAY_READ_DATABASE_URL": replica_url}
    done = run(*command, env=ours)
    return " ".join((done.stdout + done.stderr).split())


async def test_the_doctor_and_the_check_of_the_settings_tell_of_it(
    database_url: str, servers: Servers, stranger: Servers
) -> None:
    def said(url: str, *command: str) -> str:
        return _said(database_url, url, *command)

    place = f"localhost:{servers.standby.port}"
    well = await asyncio.to_thread(said, servers.url, "doctor")
    assert f"ok read replica {place} is a standby of the primary, 0." in well
    wrong = await asyncio.to_thread(said, stranger.url, "doctor")
    assert "WARNING read replica" in wrong
    assert "is not used: it belongs to another Postgres cluster" in wrong
    checked = await asyncio.to_thread(said, servers.url, "config", "validate", "--connect")
    assert f"read replica ok {place}" in checked
