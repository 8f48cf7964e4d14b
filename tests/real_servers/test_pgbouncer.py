"""PgBouncer in transaction mode: every time-out is in force, and what is too old is refused."""

import asyncio
import shutil
import subprocess
from collections.abc import Iterator

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from gateway.core.model import Limits
from gateway.errors import Unavailable
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Database, open_database
from gateway.store.migration.migrate import DatabaseRefusedError, upgrade_schema
from gateway.store.tenancy import tenants
from tests.real_servers.postgres import RealPostgres, make_owner, pgbouncer, sample_pgbouncer
from tests.real_servers.process import NEWER, program

_SINCE = 21
# What people write when they are told of an unsupported startup parameter.
_IGNORED = "jit,plan_cache_mode,statement_timeout,lock_timeout,idle_in_transaction_session_timeout"


def _version(binary: str) -> int:
    said = subprocess.run((binary, "--version"), capture_output=True, text=True, check=True).stdout
    return int(said.split()[1].split(".")[1])


def _binary(*, is_new: bool) -> str:
    found = [
        path for path in (str(NEWER / "pgbouncer"), program("pgbouncer")) if shutil.which(path)
    ]
    fit = [path for path in found if (_version(path) >= _SINCE) is is_new]
    if not fit:
        kind = "1.21 or newer" if is_new else "older than 1.21"
        pytest.skip(f"there is no PgBouncer {kind} here")
    return fit[0]


@pytest.fixture(scope="module")
def owned(server: RealPostgres) -> str:
    url = make_owner(server, "pooled")
    upgrade_schema(url)
    return url


@pytest.fixture(scope="module", params=["refused", "ignored", "sample"])
def pooled(server: RealPostgres, owned: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """One that refuses startup parameters, as by default, one that ignores them, and that of deploy/."""
    if request.param == "sample":
        with sample_pgbouncer(server, _binary(is_new=True), "pooled") as url:
            yield url
        return
    options = {"ignore_startup_parameters": _IGNORED} if request.param == "ignored" else {}
    with pgbouncer(server, _binary(is_new=True), "pooled", **options) as url:
        yield url


@pytest.fixture
async def database(pooled: str):
    opened = open_database(pooled, pool=6, name="tests")
    yield opened
    await opened.close()


async def guards(database: Database) -> list[dict[str, str]]:
    shown: list[dict[str, str]] = []
    for use in (database.begin, database.single, lambda: database.of(uuid7())):
        async with use() as tx:
            shown.append({name: (await tx.one(f"SHOW {name}"))[0] for name in GUARDS})
    return shown


async def test_every_time_out_is_in_force_in_each_transaction_and_not_beyond(
    database: Database, pooled: str
) -> None:
    assert await guards(database) == [dict(GUARDS)] * 3
    other = await asyncpg.connect(pooled)
    assert await other.fetchval("SHOW statement_timeout") == "0"
    await other.close()


async def test_more_clients_than_sessions_of_the_server_are_served(database: Database) -> None:
    async def work(number: int) -> int:
        async with database.begin() as tx:
            slug = f"t-{number}-{uuid7().hex[:8]}"
            await tenants.add(tx, uuid7(), slug=slug, name="", metadata="{}", limits=Limits())
        async with database.single() as tx:
            return (await tx.one("SELECT $1::int", number))[0]

    for _ in range(5):
        assert await asyncio.gather(*(work(number) for number in range(6))) == list(range(6))


async def test_a_statement_that_takes_too_long_ends(database: Database) -> None:
    async with database.begin() as tx:
        await tx.prepare("SET LOCAL statement_timeout = '50ms'")
        with pytest.raises(Exception, match="statement timeout"):
            await tx.rows("SELECT pg_sleep(5)")


async def test_who_fails_in_a_single_statement_leaves_no_transaction(database: Database) -> None:
    for _ in range(6):
        with pytest.raises(Exception, match="cannot be stored"):
            async with database.single() as tx:
                await tx.rows("SELECT 1 / 0")
    async with database.single() as tx:
        assert (await tx.one("SELECT 1"))[0] == 1


async def test_the_role_of_tenants_ends_with_its_transaction(database: Database) -> None:
    async with database.of(uuid7()) as tx:
        assert (await tx.one("SELECT current_user::text"))[0] == "gateway_tenant"
    async with database.single() as tx:
        assert (await tx.one("SELECT current_user::text"))[0] == "pooled"


async def test_a_slow_statement_behind_it_is_not_cut(database: Database) -> None:
    async with database.single() as tx:
        assert (await tx.one("SELECT 7 FROM pg_sleep(2.5)"))[0] == 7


def test_migrations_are_refused_through_it(pooled: str) -> None:
    with pytest.raises(DatabaseRefusedError, match="a pooler is in front") as refused:
        upgrade_schema(pooled)
    assert "GATEWAY_MIGRATION_DATABASE_URL" in refused.value.hint


@pytest.mark.parametrize("ignored", ["", _IGNORED])
async def test_one_that_is_too_old_is_refused_with_a_sentence(
    server: RealPostgres, owned: str, ignored: str
) -> None:
    options = {"ignore_startup_parameters": ignored} if ignored else {}
    with pgbouncer(server, _binary(is_new=False), "pooled", **options) as url:
        await _refused(url)


async def test_one_that_keeps_no_prepared_statements_is_refused(
    server: RealPostgres, owned: str
) -> None:
    with pgbouncer(server, _binary(is_new=True), "pooled", max_prepared_statements="0") as url:
        await _refused(url)


async def _refused(url: str) -> None:
    database = open_database(url, pool=1, name="tests")
    with pytest.raises(Unavailable) as failed:
        async with database.single() as tx:
            await tx.rows("SELECT 1")
    await database.close()
    assert failed.value.cause == (
        "the pooler in front of Postgres keeps no prepared statements: PgBouncer "
        "1.21 or newer with max_prepared_statements above 0 is needed"
    )
