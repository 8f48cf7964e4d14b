"""What the doctor reads of a real server."""

import asyncpg
import pytest

from gateway.store import diagnostics
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Database
from gateway.store.schema import metadata
from gateway.store.work import sweeps
from tests.store.test_database import pool_of


async def test_the_server_its_tables_and_what_is_in_force(db: Database) -> None:
    async with db.begin() as tx:
        server = await diagnostics.server(tx)
        assert await diagnostics.guards(tx) == GUARDS
        tables = await diagnostics.tables(tx)
        here = (await tx.one("SELECT clock_timestamp()"))[0]
        assert 0 <= (await diagnostics.now(tx) - here).total_seconds() < 60
    assert server.version >= 150_000
    assert 0 < server.connections <= server.most_connections
    assert (server.is_replica, server.has_autovacuum, server.is_encrypted) == (False, True, False)
    assert {one.name for one in tables} == set(metadata.tables)
    assert all(one.size > 0 for one in tables)


async def test_an_index_that_was_not_finished_is_found(database_url: str, db: Database) -> None:
    async with db.single() as tx:
        assert await diagnostics.invalid_indexes(tx) == []
        await tx.run(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'job_pkey'::regclass"
        )
        try:
            assert await diagnostics.invalid_indexes(tx) == ["job_pkey"]
        finally:
            await tx.run(
                "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'job_pkey'::regclass"
            )


async def test_a_transaction_that_stays_open_is_found(database_url: str, db: Database) -> None:
    other = await asyncpg.connect(
        database_url.replace("+asyncpg", ""), server_settings={"application_name": "forgotten"}
    )
    try:
        await other.execute("BEGIN; SELECT pg_current_xact_id()")
        async with db.single() as tx:
            held = [
                one
                for one in await diagnostics.open_transactions(tx)
                if one.application == "forgotten"
            ]
        assert [(one.pid, one.gid, one.state) for one in held] == [
            (other.get_server_pid(), None, "idle in transaction")
        ]
    finally:
        await other.close()


async def test_a_login_without_rights_sees_that_a_transaction_is_open_but_not_for_how_long(
    database_url: str, db: Database
) -> None:
    url = database_url.replace("+asyncpg", "")
    async with db.single() as tx:
        await tx.rows("CREATE ROLE plain_doctor LOGIN PASSWORD 'plain'")
    other = await asyncpg.connect(url)
    try:
        await other.execute("BEGIN; SELECT pg_current_xact_id()")
        login, _, place = url.partition("@")
        plain = f"{login.partition('://')[0]}://plain_doctor:plain@{place}"
        async with pool_of(plain) as database, database.single() as tx:
            found = await diagnostics.open_transactions(tx)
        assert [one.seconds for one in found if one.pid == other.get_server_pid()] == [None]
    finally:
        await other.close()
        async with db.single() as tx:
            await tx.rows("DROP ROLE plain_doctor")


async def test_the_log_and_the_slots_that_hold_it(db: Database) -> None:
    async with db.single() as tx:
        before = await diagnostics.disk(tx)
        assert before.wal is not None
        assert before.wal >= 16 * 1024 * 1024
        assert before.most_wal >= 32 * 1024 * 1024
        assert before.daily_wal is None or before.daily_wal >= 0  # None on a young server
        assert before.temp >= 0
        assert before.failed_segment is None
        await tx.rows("SELECT pg_create_physical_replication_slot('doctor_test', true)")
        try:
            slots = await diagnostics.slots(tx)
        finally:
            await tx.rows("SELECT pg_drop_replication_slot('doctor_test')")
    [slot] = [one for one in slots if one.name == "doctor_test"]
    assert (slot.is_active, slot.status) == (False, "reserved")
    assert slot.held >= 0


async def test_a_write_leaves_nothing(db: Database) -> None:
    async with db.begin() as tx:
        assert await diagnostics.write(tx)
        assert (await tx.one("SELECT count(*) FROM gateway_doctor"))[0] == 1000
    async with db.single() as tx:
        assert (await tx.one("SELECT to_regclass('gateway_doctor') IS NULL"))[0]


async def test_a_login_without_rights_is_told_less(database_url: str, db: Database) -> None:
    async with db.single() as tx:
        name = (await tx.one("SELECT current_database()"))[0]
        await tx.rows("CREATE ROLE poor_doctor LOGIN PASSWORD 'plain'")
        await tx.rows(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    try:
        login, _, place = database_url.replace("+asyncpg", "").partition("@")
        plain = f"{login.partition('://')[0]}://poor_doctor:plain@{place}"
        async with pool_of(plain) as database, database.single() as tx:
            assert (await diagnostics.disk(tx)).wal is None
            assert not await diagnostics.write(tx)
    finally:
        async with db.single() as tx:
            await tx.rows(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC")
            await tx.rows("DROP ROLE poor_doctor")


async def test_who_holds_the_lock_of_the_sweep(db: Database) -> None:
    async with db.single() as tx:
        assert await diagnostics.sweep_lock(tx) == []
    async with db.begin() as leader, db.single() as tx:
        assert await sweeps.lead(leader)
        pid = (await leader.one("SELECT pg_backend_pid()"))[0]
        [holder] = await diagnostics.sweep_lock(tx)
    assert (holder.pid, holder.gid, holder.state) == (pid, None, "idle in transaction")


async def test_endings_are_counted_by_code(db: Database) -> None:
    async with db.single() as tx:
        assert await diagnostics.ended_by_code(tx) == {}
        for code, day, jobs in (("", "0", 5), ("BAD_INPUT", "1", 2), ("", "3", 7)):
            await tx.run(
                "INSERT INTO usage_daily (tenant_id, day, workflow, status, error_code, shard, jobs)"
                " VALUES (gen_random_uuid(), date_trunc('day', now(), 'UTC')"
                f" - interval '{day} days', 'w', 'x', $1, 0, $2)",
                code,
                jobs,
            )
        assert await diagnostics.ended_by_code(tx) == {"": 5, "BAD_INPUT": 2}


@pytest.mark.parametrize(
    ("version", "names"), [(180_000, ["submit", "poll", "deliver"]), (150_004, [])]
)
async def test_plans_are_of_the_statements_alone(
    db: Database, version: int, names: list[str]
) -> None:
    async with db.single() as tx:
        plans = await diagnostics.plans(tx, version)
    assert list(plans) == names
    assert all("cost=" in lines[0] for lines in plans.values())
