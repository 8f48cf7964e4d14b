"""Upgrades by logins with few rights, in a new cluster.

The order of the tests matters, because roles belong to the whole cluster.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from uuid_utils.compat import uuid7

from gateway.embedded.postgres import Postgres
from gateway.errors import DatabaseDenied
from gateway.store.database import open_database
from gateway.store.migration import preflight
from gateway.store.migration.migrate import DatabaseRefusedError, newest_revision, present_revision
from tests.store.own_postgres import downgrade, make_login, own_postgres, sql, upgrade
from tests.store.pooler import Pooler

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Postgres]:
    async with own_postgres() as started:
        yield started


async def refusal(url: str) -> tuple[str, str]:
    """The message and the hint of an upgrade that is refused, and changes nothing."""
    before = await present_revision(url)
    with pytest.raises(DatabaseRefusedError) as refused:
        await upgrade(url)
    assert await present_revision(url) == before
    return str(refused.value), refused.value.hint


async def as_tenant(url: str) -> str:
    """The current user of a transaction of a tenant."""
    database = open_database(url, pool=1, name="tests")
    try:
        async with database.of(uuid7()) as tx:
            return (await tx.one("SELECT current_user::text"))[0]
    finally:
        await database.close()


async def test_an_owner_without_rights_on_roles_is_told_which_statements_an_administrator_runs(
    server: Postgres,
) -> None:
    url = await make_login(server, "plain")
    said, hint = await refusal(url)
    assert said == "the role gateway_tenant is missing, and the login plain may not make it"
    assert hint == (
        "As an administrator: CREATE ROLE gateway_tenant NOLOGIN NOINHERIT; "
        "GRANT gateway_tenant TO plain WITH SET TRUE;"
    )


async def test_an_owner_that_may_create_roles_needs_no_administrator(server: Postgres) -> None:
    url = await make_login(server, "maker", "CREATEROLE")
    await upgrade(url)
    assert await present_revision(url) == newest_revision()
    assert await as_tenant(url) == "gateway_tenant"


async def test_an_upgrade_lets_the_login_set_a_role_that_it_could_not_set(server: Postgres) -> None:
    url = f"postgresql://maker:secret@127.0.0.1:{server.port}/maker"
    await sql(url, "REVOKE gateway_tenant FROM maker GRANTED BY maker")
    with pytest.raises(DatabaseDenied) as denied:
        await as_tenant(url)
    assert denied.value.cause == (
        "the login may not take on the role of tenants (permission denied to set role "
        '"gateway_tenant"; `gateway db upgrade` says what to do)'
    )
    await downgrade(url, "0013")
    await upgrade(url)
    assert await as_tenant(url) == "gateway_tenant"


async def test_a_second_login_of_the_cluster_is_told_how_to_join_the_role(server: Postgres) -> None:
    url = await make_login(server, "second", "CREATEROLE")
    said, hint = await refusal(url)
    assert said == (
        "the login second is not a member of the role gateway_tenant, and may not make itself one"
    )
    assert hint == "As an administrator: GRANT gateway_tenant TO second WITH SET TRUE;"
    await server.sql("GRANT gateway_tenant TO second WITH SET FALSE")
    assert await refusal(url) == (said, hint)
    await server.sql("GRANT gateway_tenant TO second WITH SET TRUE")
    await upgrade(url)
    assert await as_tenant(url) == "gateway_tenant"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_another_encoding_is_refused(server: Postgres, encoding: str) -> None:
    url = await make_login(server, f"in_{encoding}".lower(), encoding=encoding)
    said, hint = await refusal(url)
    assert said == (
        f"the database is encoded in {encoding}, which cannot hold every text: it must be UTF8"
    )
    assert "ENCODING 'UTF8' TEMPLATE template0" in hint


async def test_a_schema_in_which_the_login_may_not_create_tables_is_refused(
    server: Postgres,
) -> None:
    url = await make_login(server, "guest")
    await server.sql("ALTER DATABASE guest OWNER TO postgres")
    said, hint = await refusal(url)
    assert said == "the login may not create tables in the schema public"
    assert "GRANT CREATE, USAGE ON SCHEMA public TO" in hint


async def test_a_read_only_database_is_refused(server: Postgres) -> None:
    url = await make_login(server, "frozen")
    await server.sql("ALTER DATABASE frozen SET default_transaction_read_only = on")
    assert await refusal(url) == ("the database is read-only, such as a standby", "")


async def test_a_server_that_is_too_old_is_refused(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_LEAST_VERSION", 99)
    said, _ = await refusal(server.url)
    assert said == "Postgres 18 is too old: 99 or newer is needed"


async def test_a_pooler_is_refused(server: Postgres) -> None:
    async with Pooler(server.url).running() as url:
        said, hint = await refusal(url)
    assert said == "a pooler is in front of Postgres, and migrations need a session of their own"
    assert "GATEWAY_MIGRATION_DATABASE_URL" in hint
