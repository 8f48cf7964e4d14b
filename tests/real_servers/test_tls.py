"""Postgres over TLS by libpq's names, as the owner of one database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from gateway.errors import DatabaseDenied, Unavailable
from gateway.store.database import Database, open_database
from gateway.store.migration.migrate import newest_revision, present_revision, upgrade_schema
from tests.real_servers.postgres import RealPostgres, make_owner


@pytest.fixture(scope="module")
def owned(server: RealPostgres) -> str:
    url = make_owner(server, "plain")
    upgrade_schema(url)
    return url


async def pool_of(url: str) -> AsyncIterator[Database]:
    database = open_database(url, pool=2, name="tests")
    yield database
    await database.close()


async def shown(url: str, sql: str) -> str:
    database = open_database(url, pool=1, name="tests")
    try:
        async with database.single() as tx:
            return (await tx.one(sql))[0]
    finally:
        await database.close()


async def failure(url: str) -> Unavailable:
    with pytest.raises(Unavailable) as failed:
        await shown(url, "SELECT 1")
    return failed.value


def test_a_plain_owner_upgrades_over_tls(owned: str) -> None:
    assert asyncio.run(present_revision(owned)) == newest_revision()


@pytest.mark.parametrize("mode", ["prefer", "require", "verify-ca", "verify-full"])
async def test_every_mode_of_tls_is_encrypted(server: RealPostgres, owned: str, mode: str) -> None:
    root = {"sslrootcert": str(server.certificates.ca)} if mode.startswith("verify") else {}
    url = server.url("plain", "plain", sslmode=mode, **root)
    sql = "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    assert await shown(url, sql) == "true"


async def test_what_the_server_does_not_prove_is_refused(
    server: RealPostgres, owned: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.crt"
    trustme.CA().cert_pem.write_to_path(other)
    wrong = server.url("plain", "plain", sslmode="verify-full", sslrootcert=str(other))
    assert (await failure(wrong)).cause.startswith("TLS failed (")
    plain = await failure(server.url("plain", "plain", sslmode="disable"))
    assert isinstance(plain, DatabaseDenied)
    assert "no encryption" in plain.cause


async def test_names_of_libpq_reach_the_server(server: RealPostgres, owned: str) -> None:
    url = server.url(
        "plain",
        "plain",
        sslmode="require",
        application_name="mine",
        options="-c search_path=elsewhere",
        connect_timeout="5",
    )
    assert await shown(url, "SHOW application_name") == "mine"
    assert await shown(url, "SHOW search_path") == "elsewhere"
    assert await shown(url, "SHOW statement_timeout") == "10s"


async def test_a_slow_statement_over_tls_is_not_cut(owned: str) -> None:
    async for database in pool_of(owned):
        async with database.single() as tx:
            assert (await tx.one("SELECT 7 FROM pg_sleep(3)"))[0] == 7


async def test_of_several_servers_the_one_that_answers_is_used(
    server: RealPostgres, owned: str, unused_tcp_port: int
) -> None:
    good, dead = f"localhost:{server.port}", f"localhost:{unused_tcp_port}"
    for hosts in (f"{dead},{good}", f"{good},{dead}"):
        for attrs in ("any", "primary", "read-write"):
            url = server.url("plain", "plain", sslmode="require", target_session_attrs=attrs)
            assert await shown(url.replace(good, hosts), "SELECT 'here'") == "here"
    none = await failure(owned.replace(good, f"{dead},{dead}"))
    assert none.cause == "connection refused"
    assert none.place == f"{dead}, {dead}"


async def test_a_unix_socket_needs_no_tls(server: RealPostgres, owned: str) -> None:
    url = owned.partition("@")[0] + f"@/plain?host={server.folder}&port={server.port}"
    assert await shown(url, "SELECT 'here'") == "here"


async def test_a_server_that_takes_no_changes_is_told(server: RealPostgres, owned: str) -> None:
    url = server.url(
        "plain", "plain", sslmode="require", options="-c default_transaction_read_only=on"
    )
    database = open_database(url, pool=1, name="tests")
    with pytest.raises(Unavailable) as failed:
        async with database.begin() as tx:
            await tx.run("DELETE FROM tenant")
    await database.close()
    assert failed.value.cause.startswith("read-only (")
    assert failed.value.detail.startswith("The database takes no changes just now.")
