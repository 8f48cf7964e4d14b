import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway.core.model import Limits
from gateway.errors import BadRequest, Collision, DatabaseDenied, NotFound, Unavailable
from gateway.store.connection import connect
from gateway.store.database import Database, Tx, open_database
from gateway.store.tenancy import tenants
from gateway.store.work import jobs
from tests.builders import add_event, add_tenant, new_job
from tests.conftest import at_database
from tests.store.blocking import until

SLEEPS = "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"


@asynccontextmanager
async def pool_of(url: str, pool: int = 1) -> AsyncIterator[Database]:
    database = open_database(url, pool=pool, name="own pool")
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="module")
async def one(database_url: str, db: Database) -> AsyncIterator[Database]:
    """A pool of a single connection."""
    async with pool_of(database_url) as database:
        yield database


async def scalar(tx: Tx, sql: str, *arguments: object) -> Any:
    row = await tx.row(sql, *arguments)
    assert row is not None
    return row[0]


async def pid_of(database: Database) -> int:
    async with database.single() as tx:
        return await scalar(tx, "SELECT pg_backend_pid()")


async def kill(db: Database, pid: int) -> None:
    """End a server process and wait until it is gone."""
    async with db.single() as tx:
        await tx.row("SELECT pg_terminate_backend($1, 5000)", pid)


async def slugs(db: Database) -> list[str]:
    async with db.single() as tx:
        return [tenant.slug for tenant in await tenants.page(tx, None, 99)]


async def add_slug(tx: Tx, slug: str) -> None:
    await tenants.add(tx, uuid7(), slug=slug, name="", metadata="{}", limits=Limits())


def assert_away(
    failed: pytest.ExceptionInfo[Unavailable] | pytest.ExceptionInfo[DatabaseDenied],
    told: str = "cannot be reached just now",
) -> None:
    """The error for callers: 503, when to retry, and one of our own sentences."""
    assert failed.value.status == 503
    assert failed.value.retry_after == 1
    assert failed.value.detail.startswith(f"The database {told}.")


# --- Transactions and rows ----------------------------------------------------------------------


async def test_a_transaction_is_committed_at_its_end(db: Database) -> None:
    async with db.begin() as tx:
        await add_slug(tx, "kept")
        assert await slugs(db) == []
    assert await slugs(db) == ["kept"]


@pytest.mark.parametrize("error", [NotFound("x"), ValueError("x"), asyncio.CancelledError()])
async def test_a_transaction_is_rolled_back_on_any_error(
    one: Database, db: Database, error: BaseException
) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await add_slug(tx, "lost")
            raise error

    with pytest.raises(type(error)) as raised:
        await work()
    assert raised.value is error
    assert await slugs(db) == []
    assert (await pid_of(one) == pid) == isinstance(error, Exception)


async def test_single_statements_are_committed_one_by_one(db: Database) -> None:
    async def work() -> None:
        async with db.single() as tx:
            await add_slug(tx, "kept")
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        await work()
    assert await slugs(db) == ["kept"]


async def test_a_preparing_statement_is_sent_with_begin(one: Database) -> None:
    async with one.begin() as tx:
        await tx.prepare("SET LOCAL work_mem = '5MB'")
        assert not tx.has_begun
        assert await scalar(tx, "SHOW work_mem") == "5MB"
        await tx.prepare("SET LOCAL work_mem = '6MB'")
        assert await scalar(tx, "SHOW work_mem") == "6MB"
    async with one.begin() as tx:
        assert await scalar(tx, "SHOW work_mem") not in {"5MB", "6MB"}


async def test_a_transaction_without_statements_sends_nothing(one: Database, db: Database) -> None:
    pid = await pid_of(one)
    async with one.begin():
        pass
    async with db.single() as tx:
        last = await scalar(tx, "SELECT query FROM pg_stat_activity WHERE pid = $1", pid)
    assert last == "SELECT pg_backend_pid()"


async def test_columns_are_attributes_of_rows(tx: Tx) -> None:
    row = await tx.row("SELECT 1 AS one, 'b' AS two")
    assert row is not None
    assert (row.one, row.two, tuple(row)) == (1, "b", (1, "b"))
    with pytest.raises(AttributeError, match="three"):
        _ = row.three
    assert await tx.row("SELECT 1 WHERE false") is None
    assert [r.n for r in await tx.rows("SELECT n FROM generate_series(1, $1::int) n", 3)] == [
        1,
        2,
        3,
    ]


async def test_a_missing_row_of_a_statement_that_always_returns_one_is_a_defect(tx: Tx) -> None:
    assert (await tx.one("SELECT 1 AS n")).n == 1
    with pytest.raises(RuntimeError, match="always returns a row"):
        await tx.one("SELECT 1 WHERE false")


async def test_run_returns_how_many_rows_it_changed(tx: Tx) -> None:
    for slug in ("a", "b"):
        await add_slug(tx, slug)
    assert await tx.run("UPDATE tenant SET name = 'x'") == 2
    assert await tx.run("UPDATE tenant SET name = 'x' WHERE slug = $1", "c") == 0
    assert await tx.run("DELETE FROM tenant WHERE slug = $1", "a") == 1


async def test_stored_json_is_returned_as_its_text(tx: Tx) -> None:
    text = '{ "n": 1.10, "n": 2 }'
    row = await tx.row("SELECT $1::json AS plain, $2::jsonb AS sorted", text, '{"a": 1.10}')
    assert row is not None
    assert (row.plain, row.sorted) == (text, '{"a": 1.10}')


async def test_sessions_have_a_name_and_time_outs(db: Database) -> None:
    async with db.single() as tx:
        names = ("application_name", "statement_timeout", "lock_timeout", "jit", "plan_cache_mode")
        shown = [await scalar(tx, f"SHOW {name}") for name in names]
        idle = await scalar(tx, "SHOW idle_in_transaction_session_timeout")
    assert (shown, idle) == (["tests", "10s", "5s", "off", "force_custom_plan"], "10s")


async def test_a_closed_pool_leaves_no_connection(database_url: str, db: Database) -> None:
    async with pool_of(database_url, 3) as database:
        await asyncio.gather(*(pid_of(database) for _ in range(3)))
    await until(db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'own pool'")


def array_types() -> set[str]:
    """The names of the array types that statements of the store use."""
    sources = [path.read_text() for path in Path(connect.__file__).parents[1].rglob("*.py")]
    return {name for source in sources for name in re.findall(r"::(\w+)\[\]", source)}


async def test_the_array_types_of_all_statements_are_among_the_known_ones(db: Database) -> None:
    types = array_types()
    assert {"uuid", "text", "float8"} <= types
    async with db.single() as tx:
        row = await tx.one(
            "SELECT array_agg(t::regtype::oid::int) FROM unnest($1::text[]) AS t",
            [f"{name}[]" for name in types],
        )
    assert set(row[0]) <= connect.BUILT_IN_ARRAYS


async def test_a_process_asks_the_server_about_array_types_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question takes longer than the statement itself."""
    asked: list[str] = []

    class Logged(connect.PostgresSession):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            untyped: Any = self
            untyped.add_query_logger(lambda record: asked.append(record.query))

    monkeypatch.setattr(connect, "PostgresSession", Logged)
    monkeypatch.setattr(connect, "_known_arrays", [])
    types = sorted(array_types())
    for _ in range(3):
        async with pool_of(database_url) as database, database.single() as tx:
            for name in types:
                assert await scalar(tx, f"SELECT $1::{name}[]", []) == []
            some = [1.5, None], ["a"], ['{"a": 1}']
            assert (
                tuple(await tx.one("SELECT $1::float8[], $2::text[], $3::jsonb[]", *some)) == some
            )
    assert sum("typeinfo_tree" in query for query in asked) == 1
    async with pool_of(database_url) as database, database.single() as tx:
        assert await scalar(tx, "SELECT ARRAY['1 day'::interval] IS NOT NULL")
        await tx.row("SELECT $1::interval[]", [])
    assert sum("typeinfo_tree" in query for query in asked) == 2, "other types are asked about"


async def test_connections_can_be_opened_ahead_and_stay(database_url: str, db: Database) -> None:
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ahead'"
    url = database_url.replace("postgresql://", "postgresql+asyncpg://")
    database = open_database(url, pool=4, name="ahead")
    warm: list[int] = []

    async def warm_up(tx: Tx) -> None:
        warm.append(await scalar(tx, "SELECT pg_backend_pid()"))

    await database.open_ahead(3, warm_up)
    async with db.single() as tx:
        assert await scalar(tx, count) == 3
    assert len(set(warm)) == 3, "each connection is warmed up"
    await database.close()


# --- Unavailable --------------------------------------------------------------------------------


async def test_a_server_that_refuses_connections_is_unavailable() -> None:
    async with pool_of("postgresql+asyncpg://u:p@127.0.0.1:1/x") as database:
        for use in (database.begin, database.single):
            with pytest.raises(Unavailable) as failed:
                async with use():
                    pytest.fail("it cannot be used")
            assert_away(failed)
            assert "127.0.0.1" not in failed.value.detail


async def test_a_server_that_does_not_answer_is_unavailable() -> None:
    silence = asyncio.Event()

    async def be_silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, pool_of(f"postgresql+asyncpg://u:p@127.0.0.1:{port}/x") as database:
        with pytest.raises(Unavailable) as failed:
            await pid_of(database)
        silence.set()
    assert_away(failed)


async def test_an_exhausted_pool_is_unavailable_until_a_connection_is_free(one: Database) -> None:
    async with one.begin():
        with pytest.raises(Unavailable) as failed:
            await pid_of(one)
    assert_away(failed, "has no connection free just now")
    assert await pid_of(one)


async def test_connections_killed_while_idle_are_replaced_without_a_failure(
    database_url: str, db: Database
) -> None:
    async with pool_of(database_url, 3) as database:
        pids = await asyncio.gather(*(pid_of(database) for _ in range(3)))
        for pid in pids:
            await kill(db, pid)
        await asyncio.sleep(0.05)  # lets the driver read that they have ended
        fresh = await asyncio.gather(*(pid_of(database) for _ in range(3)))
    assert not set(fresh) & set(pids)


async def test_a_connection_killed_within_a_transaction_is_replaced(
    one: Database, db: Database
) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await add_slug(tx, "lost")
            await kill(db, pid)
            await add_slug(tx, "lost too")

    with pytest.raises(Unavailable) as failed:
        await work()
    assert_away(failed)
    assert await slugs(db) == []
    assert await pid_of(one) != pid


async def test_a_connection_killed_before_its_commit_commits_nothing(
    one: Database, db: Database
) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await add_slug(tx, "lost")
            await kill(db, pid)

    with pytest.raises(Unavailable) as failed:
        await work()
    assert_away(failed)
    assert await slugs(db) == []


async def test_a_connection_killed_during_a_statement_is_replaced(
    one: Database, db: Database
) -> None:
    pid = await pid_of(one)

    async def sleep() -> None:
        async with one.single() as tx:
            await tx.row("SELECT pg_sleep(60)")

    sleeping = asyncio.create_task(sleep())
    await until(db, SLEEPS, pid)
    await kill(db, pid)
    with pytest.raises(Unavailable) as failed:
        await sleeping
    assert_away(failed)
    assert await pid_of(one) != pid


@pytest.mark.parametrize(
    ("setting", "statement", "told", "stays"),
    [
        ("statement_timeout = '20ms'", "SELECT pg_sleep(60)", "took too long for this", True),
        # A demoted server: the next connection looks for another one.
        ("transaction_read_only = on", "DELETE FROM tenant", "takes no changes just now", False),
    ],
)
async def test_a_statement_that_the_server_refuses_for_now_is_unavailable(
    one: Database, setting: str, statement: str, told: str, stays: bool
) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await tx.rows(f"SET LOCAL {setting}")
            await tx.rows(statement)

    with pytest.raises(Unavailable) as failed:
        await work()
    assert_away(failed, told)
    assert (await pid_of(one) == pid) is stays


async def test_a_lock_that_is_not_free_in_time_is_unavailable(one: Database, db: Database) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)

    async def work() -> None:
        async with one.begin() as other:
            await other.rows("SET LOCAL lock_timeout = '20ms'")
            await tenants.lock(other, tenant)

    async with db.begin() as tx:
        await tenants.lock(tx, tenant)
        with pytest.raises(Unavailable) as failed:
            await work()
    assert failed.value.detail.startswith("Another request holds what this one changes.")
    assert failed.value.cause.startswith("a lock was not free in time")


async def test_one_of_two_transactions_in_a_deadlock_fails_with_a_collision(db: Database) -> None:
    async with db.begin() as tx:
        ids = [await add_tenant(tx), await add_tenant(tx)]
    meeting = asyncio.Barrier(2)

    async def lock(first: int) -> None:
        async with db.begin() as tx:
            await tx.rows("SET LOCAL deadlock_timeout = '20ms'")
            await tenants.lock(tx, ids[first])
            await meeting.wait()
            await tenants.lock(tx, ids[1 - first])

    ends = await asyncio.gather(lock(0), lock(1), return_exceptions=True)
    assert {type(end) for end in ends} == {type(None), Collision}


async def test_a_single_statement_is_retried_after_a_deadlock(one: Database, db: Database) -> None:
    async with db.begin() as tx:
        ids = sorted([await add_tenant(tx), await add_tenant(tx)])
    pid = await pid_of(one)
    first_then_second = (
        f"DO $$ BEGIN UPDATE tenant SET name = 'touched' WHERE id = '{ids[0]}';"
        f" UPDATE tenant SET name = 'touched' WHERE id = '{ids[1]}'; END $$"
    )

    async def touch() -> None:
        async with one.single() as tx:
            await tx.rows("SET deadlock_timeout = '300ms'")
            await tx.rows(first_then_second)

    async with db.begin() as tx:
        await tx.rows("SET LOCAL deadlock_timeout = '60s'")
        await tenants.lock(tx, ids[1])
        touching = asyncio.create_task(touch())
        await until(db, "SELECT count(*) > 0 FROM pg_locks WHERE pid = $1 AND NOT granted", pid)
        await tenants.lock(tx, ids[0])  # now each waits for the other
    await touching
    async with db.single() as tx:
        names = await tx.rows("SELECT name FROM tenant")
    assert [one.name for one in names] == ["touched", "touched"]


async def test_a_transaction_that_was_idle_for_too_long_is_unavailable(
    one: Database, db: Database
) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await tx.rows("SET LOCAL idle_in_transaction_session_timeout = '10ms'")
            await until(db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1", pid)
            await add_slug(tx, "lost")

    with pytest.raises(Unavailable) as failed:
        await work()
    assert_away(failed)
    assert await slugs(db) == []


async def test_the_pool_works_after_a_cancelled_statement(one: Database, db: Database) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.begin() as tx:
            await add_slug(tx, "lost")
            await tx.row("SELECT pg_sleep(60)")

    working = asyncio.create_task(work())
    await until(db, SLEEPS, pid)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await slugs(one) == []


@pytest.mark.parametrize("kind", ["single", "begin", "of"])
async def test_a_cancellation_at_any_moment_leaves_no_open_transaction_in_the_pool(
    one: Database, kind: str
) -> None:
    async def use() -> None:
        async with one.of(uuid7()) if kind == "of" else getattr(one, kind)() as tx:
            await tx.rows("SELECT 1")

    for step in range(150):
        task = asyncio.create_task(use())
        await asyncio.sleep(step / 50_000)
        task.cancel()
        await asyncio.wait([task])
        async with one.single() as tx:
            assert await scalar(tx, "SELECT current_user = session_user"), step
            with pytest.raises(asyncpg.NoActiveSQLTransactionError):
                await tx.rows("SAVEPOINT inside")


async def test_a_connection_in_an_unknown_state_is_not_reused(one: Database) -> None:
    pid = await pid_of(one)

    async def work() -> None:
        async with one.single() as tx:
            await tx.rows("BEGIN")
            raise RuntimeError("oops")

    with pytest.raises(RuntimeError, match="oops"):
        await work()
    assert await pid_of(one) != pid


# --- Other failures -----------------------------------------------------------------------------


async def test_a_defect_of_ours_is_not_translated(db: Database) -> None:
    async def ask_nonsense() -> None:
        async with db.begin() as tx:
            await tx.row("SELECT nonsense()")

    async def repeat_an_id() -> None:
        async with db.begin() as tx:
            event = uuid7()
            for _ in range(2):
                await add_event(tx, await add_tenant(tx), id=event)

    with pytest.raises(asyncpg.UndefinedFunctionError):
        await ask_nonsense()
    with pytest.raises(asyncpg.UniqueViolationError):
        await repeat_an_id()


@pytest.mark.parametrize(
    ("wrong", "cause"), [("password", "wrong password"), ("database", "no such database")]
)
async def test_a_refused_login_says_why(database_url: str, wrong: str, cause: str) -> None:
    password = urlsplit(database_url).password or ""
    url = {
        "password": database_url.replace(password, "hunter2"),
        "database": at_database(database_url, "nowhere"),
    }[wrong]
    async with pool_of(url) as database:
        with pytest.raises(DatabaseDenied) as failed:
            await pid_of(database)
        assert database.availability.cause is not None
    assert_away(failed, "does not let the gateway in just now")
    assert failed.value.cause.startswith(cause)
    assert "hunter2" not in f"{failed.value.cause} {failed.value.place}"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "a\0b"},
        {"params": "{"},
        {"metadata": '{"a":"\\u0000"}'},
        {"metadata": '{"a":"\\ud800"}'},
        {"metadata": '{"a":1e999999}'},
        # The driver already refuses these.
        {"name": "a\ud800b"},
        {"priority": 2**15},
    ],
    ids=ascii,
)
async def test_a_value_that_cannot_be_stored_is_a_bad_request(
    db: Database, changes: dict[str, object]
) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
    with pytest.raises(BadRequest, match="holds a value that cannot be stored"):
        async with db.begin() as tx:
            await jobs.insert(tx, [new_job(tenant, **changes)])
    async with db.begin() as tx:
        assert await jobs.queued(tx, [tenant]) == {tenant: 0}
