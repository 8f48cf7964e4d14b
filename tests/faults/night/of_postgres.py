"""Faults of Postgres, each for the time of a block."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from gateway.store.work import sweeps
from tests.faults.drills.drill import TERMINATE, query
from tests.faults.harness.rig import HOST
from tests.faults.harness.small_disk import FILLER, fill
from tests.faults.night.deployment import NAME, NO_CHANGES, Night
from tests.real_servers.postgres import PASSWORD, pgbouncer
from tests.real_servers.process import NEWER, program

Injected = AsyncGenerator[Mapping[str, str]]
_SWITCH = "SELECT pg_logical_emit_message(false, 'night', 'x'), pg_switch_wal()"
_SEGMENTS = 4
_MOST_CONNECTIONS = 100


@asynccontextmanager
async def refused(night: Night) -> Injected:
    """The server is killed."""
    await night.rig.postgres_server.kill()
    yield NO_CHANGES
    await night.rig.postgres_server.revive()


@asynccontextmanager
async def silent(night: Night) -> Injected:
    """Connections are taken, and nothing comes over them, as with a frozen host."""
    link = night.links.postgres
    link.stall()
    usual = f"{HOST}:{night.rig.postgres.port}"
    url = night.world.env["GATEWAY_DATABASE_URL"].replace(usual, f"{HOST}:{link.port}")
    yield {"GATEWAY_DATABASE_URL": url}
    link.heal()


@asynccontextmanager
async def wrong_password(night: Night) -> Injected:
    """Somebody changed the password of the login."""
    await query(night.world, f"ALTER ROLE {NAME} PASSWORD 'changed'")
    await query(night.world, TERMINATE)
    yield NO_CHANGES
    await query(night.world, f"ALTER ROLE {NAME} PASSWORD '{PASSWORD}'")


@asynccontextmanager
async def connections_used_up(night: Night) -> Injected:
    """Other programs take every connection, those for superusers as well."""
    await query(night.world, TERMINATE)
    async with AsyncExitStack() as stack:
        with suppress(asyncpg.TooManyConnectionsError):
            for _ in range(_MOST_CONNECTIONS):
                stack.push_async_callback((await _connect(night, "postgres")).close)
        yield NO_CHANGES


@asynccontextmanager
async def read_only(night: Night) -> Injected:
    """Somebody made the database read-only."""
    await query(night.world, f"ALTER DATABASE {NAME} SET default_transaction_read_only = on")
    await query(night.world, TERMINATE)
    yield NO_CHANGES
    await night.rig.postgres.sql(f"ALTER DATABASE {NAME} RESET default_transaction_read_only")
    await night.rig.postgres.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{NAME}'"
    )


@asynccontextmanager
async def disk_full(night: Night) -> Injected:
    """The disk of the tables is full."""
    if night.disk is None:
        pytest.skip("a small file system cannot be mounted here")
    fill(night.disk)
    yield NO_CHANGES
    (night.disk / FILLER).unlink()


@asynccontextmanager
async def standby_away(night: Night) -> Injected:
    """Commits wait for a standby that is not there."""
    await night.rig.postgres.sql(
        "ALTER SYSTEM SET synchronous_standby_names = 'standby1'", "SELECT pg_reload_conf()"
    )
    yield NO_CHANGES
    await night.rig.postgres.sql(
        "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"
    )


@asynccontextmanager
async def slot_holds_log(night: Night) -> Injected:
    """A standby was taken away, and its replication slot was not."""
    await query(night.world, "SELECT pg_create_physical_replication_slot('old_standby', true)")
    for _ in range(_SEGMENTS):
        await query(night.world, _SWITCH)
    yield NO_CHANGES
    await query(night.world, "SELECT pg_drop_replication_slot('old_standby')")
    await query(night.world, "CHECKPOINT")  # it frees the log; else the next one in five minutes


@asynccontextmanager
async def transaction_open(night: Night) -> Injected:
    """Somebody forgot a transaction, in another database."""
    other = await _connect(night, "postgres", application_name="psql")
    await other.execute("BEGIN; SELECT pg_current_xact_id()")
    yield NO_CHANGES
    await other.close()


@asynccontextmanager
async def sweep_locked(night: Night) -> Injected:
    """A session holds the lock of the sweep and does not end."""
    other = await _connect(night, NAME, application_name="psql")
    await other.fetchval("SELECT pg_advisory_lock($1)", sweeps.LEADER)
    yield NO_CHANGES
    await other.close()


@asynccontextmanager
async def schema_behind(night: Night) -> Injected:
    """The code was updated, the schema was not."""
    async with _revision(night, "0001"):
        yield NO_CHANGES


@asynccontextmanager
async def schema_ahead(night: Night) -> Injected:
    """The schema was updated, the code was not."""
    async with _revision(night, "9999"):
        yield NO_CHANGES


@asynccontextmanager
async def role_refused(night: Night) -> Injected:
    """After a move nobody granted the role of tenants."""
    await query(night.world, f"REVOKE gateway_tenant FROM {NAME}")
    yield NO_CHANGES
    await query(night.world, f"GRANT gateway_tenant TO {NAME}")


@asynccontextmanager
async def pooler_full(night: Night) -> Injected:
    """A PgBouncer has as many clients as it may have."""
    found = NEWER / "pgbouncer"
    binary = str(found) if found.exists() else program("pgbouncer")
    server: Any = SimpleNamespace(port=night.rig.postgres.port)
    options = {"server_tls_sslmode": "disable", "max_client_conn": "2"}
    async with AsyncExitStack() as stack:
        url = stack.enter_context(pgbouncer(server, binary, NAME, **options))
        for _ in range(2):
            other = await asyncpg.connect(url, statement_cache_size=0)
            stack.push_async_callback(other.close)
        yield {"GATEWAY_DATABASE_URL": url}


@asynccontextmanager
async def _revision(night: Night, present: str) -> AsyncGenerator[None]:
    (row,) = await query(night.world, "SELECT version_num FROM alembic_version")
    await query(night.world, "UPDATE alembic_version SET version_num = $1", present)
    yield
    await query(night.world, "UPDATE alembic_version SET version_num = $1", row[0])


async def _connect(night: Night, database: str, **settings: str) -> Any:
    url = night.rig.postgres.url_of(database).replace("+asyncpg", "")
    return await asyncpg.connect(url, server_settings=settings)
