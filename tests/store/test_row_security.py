"""Row-level security: within `of`, statements see and change only rows of the named tenants."""

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway.core.model import KeyKind
from gateway.store.database import Database, open_database
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.retention import prune
from gateway.store.tenancy import access_keys, tenants
from gateway.store.usage import rollups
from gateway.store.webhooks import attempts, endpoints
from gateway.store.work import bulk_operations, jobs, polls, settlement
from gateway.store.work.settlement import NewDelivery
from tests.builders import (
    add_endpoint,
    add_event,
    add_jobs,
    add_submitted,
    add_tenant,
    attempt_of,
    claim_deliveries,
    claim_jobs,
    key_of,
    new_job,
    put,
)

# Statements for tenants have no rights on these tables.
CLOSED = {
    "access_key",
    "audit",
    "credential",
    "portal_look",
    "saved_view",
    "session",
    "session_link",
    "usage_hour",
}
# Tables without rows of tenants.
COMMON = {"alembic_version", "beacon", "process", "throughput"}

_OWNED = """
SELECT c.relname AS name, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
  (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd = '*'
    AND p.polpermissive AND p.polroles = '{0}') AS policies,
  (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS all_policies,
  EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id'
    AND NOT a.attisdropped) OR c.relname = 'tenant' AS owned
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
  AND NOT c.relispartition
ORDER BY 1"""


_ADD_SESSION = """
INSERT INTO {table} (id, tenant_id, kind, role, who, pages, theme, digest, created_at, expires_at{more})
VALUES (gen_random_uuid(), $1, 'portal', 'viewer', 'w', '{{}}', '{{}}', sha256($1::uuid::text::bytea),
  now(), now(){value})"""


@dataclass(frozen=True)
class Tables:
    """The tables of the database: those whose rows have a tenant, and the others."""

    owned: Sequence[str]
    others: Sequence[str]


async def tables_of(db: Database) -> Tables:
    async with db.single() as tx:
        rows = await tx.rows(_OWNED)
    owned = [row.name for row in rows if row.owned]
    return Tables(owned, [row.name for row in rows if not row.owned])


def owner_column(table: str) -> str:
    return "id" if table == "tenant" else "tenant_id"


async def fill(db: Database) -> UUID:
    """Add a tenant with a row in every table."""
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        (job_id,) = await add_submitted(tx, tenant, idempotency_key="k", request_hash=b"h")
        await put(tx, "job", job_id, state="succeeded", completed_at=0)
        endpoint_id = await add_endpoint(tx, tenant)
        event_id = await add_event(tx, tenant, job_id=job_id)
        owed = NewDelivery(
            uuid7(), tenant, event_id, job_id, endpoint_id, None, endpoint_id, "delivered"
        )
        await settlement.add_deliveries(tx, [owed])
        tried = attempts.Recorded(owed.id, tenant, uuid4(), "delivered", 0.0, attempt_of())
        await attempts.add(tx, [tried])
        await rollups.add_jobs(tx, [job_id])
        await lists.add_notes(tx, [NewNote(uuid7(), tenant, job_id, "submit.repeated", "")])
        await access_keys.add(tx, key_of(kind=KeyKind.TENANT, tenant_id=tenant))
        await prune.prune(tx, tenant, "payloads", [job_id])
        await bulk_operations.add(
            tx,
            uuid7(),
            tenant,
            kind="resend",
            endpoint_id=None,
            filter_="{}",
            total=1,
            most=9,
            until=job_id,
        )
        await endpoints.add_secret(
            tx, uuid7(), tenant, None, algorithm="v1", sealed=b"sealed", public_key=None
        )
        for statement in (
            "INSERT INTO audit VALUES (gen_random_uuid(), now(), 'k', 'a', 's', $1, '{}')",
            "INSERT INTO usage_horizon VALUES ($1, now())",
            "INSERT INTO usage_hour VALUES ($1, now(), 'w', 's', '', 1, 0, 0)",
            "INSERT INTO saved_view VALUES (gen_random_uuid(), $1, '', 'v', 'q', false)",
            _ADD_SESSION.format(table="session", more=", last_seen_at", value=", now()"),
            _ADD_SESSION.format(table="session_link", more="", value=""),
        ):
            await tx.run(statement, tenant)
    return tenant


@pytest_asyncio.fixture(loop_scope="module")
async def two(db: Database) -> tuple[UUID, UUID]:
    """Two tenants with a row in every table."""
    return await fill(db), await fill(db)


_WITHOUT_CASTS = re.compile(r"::uuid\[\]|[() ]")

# --- The catalogue -------------------------------------------------------------------------------


async def test_no_table_of_tenants_is_without_a_forced_policy(db: Database) -> None:
    async with db.single() as tx:
        rows = await tx.rows(_OWNED)
    owned = [row for row in rows if row.owned]
    assert {"tenant", "job", "event", "delivery", "attempt", "usage_hourly"} < {
        row.name for row in owned
    }
    bare = [
        row.name
        for row in owned
        if not (row.enabled and row.forced and row.policies == row.all_policies == 1)
    ]
    assert bare == [], "each needs ENABLE and FORCE ROW LEVEL SECURITY and the policy of_tenant"


async def test_every_other_table_is_listed_as_common(db: Database) -> None:
    assert set((await tables_of(db)).others) == COMMON


async def test_all_policies_are_the_same(db: Database) -> None:
    async with db.single() as tx:
        rows = await tx.rows("SELECT policyname, qual, with_check FROM pg_policies")
    assert {row.policyname for row in rows} == {"of_tenant"}
    column = re.compile(r"\bOR \((tenant_id|id) = ANY")
    assert all(column.search(row.qual) for row in rows)
    assert len({_WITHOUT_CASTS.sub("", column.sub("OR (x = ANY", row.qual)) for row in rows}) == 1
    # None: the condition for reading holds for writing too.
    assert {row.with_check for row in rows} == {None}


async def test_the_role_of_tenants_has_no_other_rights(db: Database) -> None:
    async with db.single() as tx:
        role = await tx.one("SELECT * FROM pg_roles WHERE rolname = 'gateway_tenant'")
        owns = await tx.rows("SELECT 1 FROM pg_class WHERE relowner = $1", role.oid)
    rights = ("super", "bypassrls", "createrole", "createdb", "canlogin", "replication")
    assert [right for right in rights if role[f"rol{right}"]] == []
    assert owns == []


# --- Rows ----------------------------------------------------------------------------------------


async def test_every_table_shows_only_the_rows_of_the_tenant(
    db: Database, two: tuple[UUID, UUID]
) -> None:
    mine, _ = two
    for table in (await tables_of(db)).owned:
        column = owner_column(table)
        if table in CLOSED:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await shown(db, mine, table, column)
            continue
        assert set(await shown(db, mine, table, column)) == {mine}, table
        assert await shown(db, uuid4(), table, column) == [], table
        assert set(await shown(db, None, table, column)) == set(two), table
        async with db.of(*two) as tx:
            rows = await tx.rows(f"SELECT {column} AS owner FROM {table}")
        assert {row.owner for row in rows} == set(two), table


async def shown(db: Database, tenant: UUID | None, table: str, column: str) -> list[UUID]:
    """The tenants whose rows a tenant sees in a table; None: what the engine sees."""
    async with db.begin() if tenant is None else db.of(tenant) as tx:
        return [row[column] for row in await tx.rows(f"SELECT * FROM {table}")]


async def test_no_other_table_can_be_read(db: Database, two: tuple[UUID, UUID]) -> None:
    for table in COMMON:
        column = "process_id" if table == "throughput" else "id"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await shown(db, two[0], table, column)


async def test_the_rows_of_others_cannot_be_changed(db: Database, two: tuple[UUID, UUID]) -> None:
    mine, theirs = two
    for table in (await tables_of(db)).owned:
        column = owner_column(table)
        before = await all_of(db, table)
        for verb, statement in (
            ("UPDATE", f"UPDATE {table} SET {column} = {column}"),
            ("DELETE", f"DELETE FROM {table}"),
        ):
            if await may(db, verb, table):
                met = await run(db, mine, f"{statement} WHERE {column} = $1", theirs)
                assert met == 0, table
            else:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await run(db, mine, statement)
        assert await all_of(db, table) == before


async def may(db: Database, verb: str, table: str) -> bool:
    """Whether statements for tenants have this right on a table."""
    async with db.single() as tx:
        row = await tx.one("SELECT has_table_privilege('gateway_tenant', $1, $2)", table, verb)
    assert not (row[0] and table in CLOSED)
    return row[0]


async def run(db: Database, tenant: UUID, sql: str, *arguments: object) -> int:
    async with db.of(tenant) as tx:
        return await tx.run(sql, *arguments)


async def all_of(db: Database, table: str) -> list[str]:
    async with db.single() as tx:
        return sorted(map(str, await tx.rows(f"SELECT {table}::text FROM {table}")))


async def test_a_row_cannot_be_moved_to_another_tenant(
    db: Database, two: tuple[UUID, UUID]
) -> None:
    mine, theirs = two
    for table in set((await tables_of(db)).owned) - {"tenant"}:
        words = {
            verb: "row-level security"
            for verb in ("INSERT", "UPDATE")
            if await may(db, verb, table)
        }
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=words.get("UPDATE", "denied")):
            await run(db, mine, f"UPDATE {table} SET tenant_id = $1", theirs)
        copied = (
            f"INSERT INTO {table} SELECT (jsonb_populate_record(t, jsonb_build_object('tenant_id',"
            f" $1::uuid))).* FROM {table} t"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match=words.get("INSERT", "denied")):
            await run(db, mine, copied, theirs)


async def test_a_statement_on_a_whole_table_affects_only_the_tenants_rows(
    db: Database, two: tuple[UUID, UUID]
) -> None:
    mine, theirs = two
    async with db.of(mine) as tx:
        for table in ("attempt", "delivery", "event", "job_event", "job", "bulk"):
            assert await tx.run(f"UPDATE {table} SET tenant_id = tenant_id") == 1
            assert await tx.run(f"DELETE FROM {table}") == 1
    for table in ("attempt", "job"):
        assert await shown(db, None, table, "tenant_id") == [theirs]


async def test_a_lock_on_the_tenant_can_be_taken(db: Database, two: tuple[UUID, UUID]) -> None:
    async with db.of(two[0]) as tx:
        await tenants.lock(tx, two[0])
        assert await tx.rows("SELECT id FROM tenant WHERE id = $1 FOR UPDATE", two[1]) == []


async def test_without_tenants_no_row_is_visible(db: Database, two: tuple[UUID, UUID]) -> None:
    async with db.of() as tx:
        assert len(two) == 2
        assert await tx.rows("SELECT id FROM job") == []


# --- Logins --------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def owner(database_url: str, db: Database) -> AsyncIterator[Database]:
    """A pool of the owner of the tables, who is no superuser."""
    async with db.single() as tx:
        name = f"owner_{uuid4().hex}"
        await tx.rows(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        await tx.rows(f"GRANT gateway_tenant TO {name}")
        for table in [*(await tables_of(db)).owned, *COMMON]:
            await tx.rows(f"ALTER TABLE {table} OWNER TO {name}")
    parts = urlsplit(database_url)
    address = f"{name}:secret@{parts.netloc.rpartition('@')[2]}"
    database = open_database(parts._replace(netloc=address).geturl(), pool=2, name="owner")
    yield database
    await database.close()
    async with db.single() as tx:
        await tx.rows(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
        await tx.rows(f"DROP OWNED BY {name}")
        await tx.rows(f"DROP ROLE {name}")


async def test_the_tests_run_as_a_superuser(db: Database) -> None:
    async with db.single() as tx:
        assert (await tx.one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))[0]


async def test_row_security_binds_the_owner_of_the_tables_too(
    two: tuple[UUID, UUID], owner: Database
) -> None:
    mine, theirs = two
    async with owner.single() as tx:
        row = await tx.one("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = user")
    assert not any(row)
    assert await shown(owner, mine, "job", "tenant_id") == [mine]
    assert await run(owner, mine, "DELETE FROM job WHERE tenant_id = $1", theirs) == 0
    assert set(await shown(owner, None, "job", "tenant_id")) == set(two)
    async with owner.begin() as tx:
        await tx.run("UPDATE job SET state = 'accepted', completed_at = NULL")
        claimed = await claim_jobs(tx)
    assert {job.tenant_id for job in claimed} == set(two)
    # With tenants in the setting, the policy binds the owner too.
    async with owner.begin() as tx:
        await tx.rows("SELECT set_config('gateway.tenants', $1, true)", str(mine))
        assert [row.tenant_id for row in await tx.rows("SELECT * FROM job")] == [mine]


# --- The pool ------------------------------------------------------------------------------------

_WHO = "SELECT current_user = session_user AS own, current_setting('gateway.tenants', true) AS of"


@pytest.mark.parametrize("ending", ["commit", "rollback", "error", "cancelled"])
async def test_role_and_tenants_end_with_the_transaction(
    database_url: str, two: tuple[UUID, UUID], ending: str
) -> None:
    database = open_database(database_url, pool=1, name="one")

    async def use() -> int:
        async with database.of(two[0]) as tx:
            who = await tx.one(_WHO)
            assert (who.own, UUID(who.of)) == (False, two[0])
            pid = (await tx.one("SELECT pg_backend_pid()"))[0]
            if ending == "rollback":
                raise RuntimeError(pid)
            if ending == "error":
                await tx.rows("SELECT 1/0")
            if ending == "cancelled":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0)
            return pid

    used = (await asyncio.gather(asyncio.create_task(use()), return_exceptions=True))[0]
    assert isinstance(used, int) == (ending == "commit")
    async with database.single() as tx:
        who = await tx.one(_WHO)
        assert who.own
        assert who.of in (None, "")
        assert {row.tenant_id for row in await tx.rows("SELECT * FROM job")} == set(two)
        if ending == "commit":
            assert (await tx.one("SELECT pg_backend_pid()"))[0] == used
    await database.close()


class _ChangedMindError(Exception):
    pass


class _Pair:
    """Random statements of two tenants, or of the engine, in one pool."""

    def __init__(
        self, database: Database, tables: Sequence[str], tenants: Sequence[UUID], seed: int
    ) -> None:
        self.written = {tenant: [uuid4()] for tenant in tenants}
        self._database = database
        self._tables = tables
        self._tenants = tenants
        self._chance = random.Random(seed)

    async def act(self, times: int) -> None:
        for _ in range(times):
            tenant = self._chance.choice([*self._tenants, None])
            with suppress(_ChangedMindError):
                await (self._for_all() if tenant is None else self._for(tenant))

    async def _for(self, tenant: UUID) -> None:
        (other,) = set(self._tenants) - {tenant}
        async with self._database.of(tenant) as tx:
            for table in self._chance.sample(self._tables, 3):
                await asyncio.sleep(0)
                rows = await tx.rows(f"SELECT {owner_column(table)} AS owner FROM {table}")
                assert {row.owner for row in rows} == {tenant}, table
            assert await jobs.find(tx, other, self.written[other][-1]) is None
            assert await tx.run("DELETE FROM job WHERE tenant_id = $1", other) == 0
            (new,) = await add_jobs(tx, tenant)
            if self._chance.random() < 0.3:
                raise _ChangedMindError
            self.written[tenant].append(new)

    async def _for_all(self) -> None:
        database = self._database
        async with database.begin() if self._chance.random() < 0.5 else database.single() as tx:
            rows = await tx.rows("SELECT DISTINCT tenant_id AS owner FROM job")
            assert {row.owner for row in rows} == set(self._tenants)
            assert (await tx.one(_WHO)).own


@pytest.mark.parametrize("seed", range(3))
async def test_two_tenants_in_one_pool_never_see_each_others_rows(
    database_url: str, db: Database, two: tuple[UUID, UUID], seed: int
) -> None:
    open_tables = sorted(set((await tables_of(db)).owned) - CLOSED)
    database = open_database(database_url, pool=3, name="shared")
    pair = _Pair(database, open_tables, two, seed)
    await asyncio.gather(*(pair.act(20) for _ in range(3)))
    await database.close()
    async with db.single() as tx:
        rows = await tx.rows("SELECT tenant_id, id FROM job WHERE state = 'accepted'")
    for tenant, (_, *written) in pair.written.items():
        assert written
        assert {row.id for row in rows if row.tenant_id == tenant} == set(written)


# --- The engine ----------------------------------------------------------------------------------


async def test_batches_of_the_engine_see_all_tenants(db: Database, two: tuple[UUID, UUID]) -> None:
    async with db.begin() as tx:
        for tenant in two:
            await add_jobs(tx, tenant)
        await tx.run("UPDATE delivery SET state = 'pending'")
        await tx.run("UPDATE credential SET poll_at = now()")
        await tx.run("UPDATE bulk SET state = 'running', next_at = now()")
        assert {job.tenant_id for job in await claim_jobs(tx)} == set(two)
        assert {one.tenant_id for one in await claim_deliveries(tx)} == set(two)
        due = await polls.claim(tx, 9, lease=30.0, breaker=5, token=uuid4())
        assert {one.tenant_id for one in due} == set(two)
        claimed = [await bulk_operations.claim(tx, lease=30.0, token=uuid4()) for _ in two]
        assert {one.tenant_id for one in claimed if one} == set(two)
        assert {one.tenant_id for one in await prune.tenants(tx, None, 0.0, 9)} == set(two)
        new = [new_job(tenant) for tenant in two]
        assert await jobs.insert(tx, new) == {job.id for job in new}
