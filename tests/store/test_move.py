"""A dump by the owner, and its restore into another cluster, whose transaction ids start from 1 again."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import pytest
import pytest_asyncio

from gateway.embedded.part import PartFailedError, run_tool
from gateway.embedded.postgres import Postgres
from gateway.store import feed
from gateway.store.database import Database, open_database
from gateway.store.feed import START, FeedPosition
from gateway.store.work import restore_detection
from tests.builders import add_event, add_tenant
from tests.store.own_postgres import make_login, own_postgres, sql, upgrade

pytestmark = pytest.mark.asyncio(loop_scope="module")

_AHEAD = 4_000
_ROLE = "CREATE ROLE gateway_tenant NOLOGIN NOINHERIT"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def clusters() -> AsyncIterator[tuple[Postgres, Postgres]]:
    async with own_postgres() as one, own_postgres() as other:
        yield one, other


async def _owned(server: Postgres) -> str:
    """Create a database whose owner has no other rights; returns its URL."""
    await server.sql(_ROLE)
    url = await make_login(server, "gateway")
    await server.sql("GRANT gateway_tenant TO gateway")
    return url


async def _tool(server: Postgres, name: str, *arguments: str) -> None:
    program = Path(server.part.argv[0]).parent / name
    await run_tool(str(program), *arguments, env={"LC_ALL": "C"})


class Read(NamedTuple):
    """The events that a reader of the feed saw before the move, and its position."""

    tenant: UUID
    ids: Sequence[UUID]
    places: Sequence[FeedPosition]


async def _feed_with_events(url: str) -> Read:
    """Add three events in a cluster with high transaction ids."""
    await sql(url, *["SELECT pg_current_xact_id()"] * _AHEAD)
    db = open_database(url, pool=2, name="tests")
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
    ids = [await _event(db, tenant) for _ in range(3)]
    async with db.begin() as tx:
        await restore_detection.beat(tx, await restore_detection.cluster_of(tx))
    async with db.single() as tx:
        last = await feed.place_of(tx, [tenant], ids[-1])
        assert last is not None
        places = [await feed.end(tx), last]
    await db.close()
    return Read(tenant, ids, places)


async def test_a_dump_restored_in_another_cluster_loses_no_event(
    clusters: tuple[Postgres, Postgres], tmp_path: Path
) -> None:
    one, other = clusters
    old, new = await _owned(one), await _owned(other)
    await upgrade(old)
    read = await _feed_with_events(old)
    dump = str(tmp_path / "dump")
    with pytest.raises(PartFailedError, match="row-level security"):
        await _tool(one, "pg_dump", "-Fc", "-f", dump, old)
    await _tool(one, "pg_dump", "-Fc", "--enable-row-security", "-f", dump, old)
    await _tool(one, "pg_restore", "--exit-on-error", "--no-owner", "-d", new, dump)
    await upgrade(new)  # the schema is complete, so the upgrade has nothing to do
    here = open_database(new, pool=2, name="tests")
    later = [await _event(here, read.tenant) for _ in range(2)]
    assert await _page(here, read.tenant, START) == [*read.ids, *later]
    for place in read.places:
        assert await _page(here, read.tenant, place) == later
    await _notices_once(here)
    later.append(await _event(here, read.tenant))
    assert await _page(here, read.tenant, START) == [*read.ids, *later]
    for place in read.places:
        assert await _page(here, read.tenant, place) == later
    await here.close()


async def _notices_once(db: Database) -> None:
    async with db.begin() as tx:
        cluster = await restore_detection.cluster_of(tx)
        assert cluster is not None
        assert await restore_detection.has_moved(tx, cluster)
        assert await feed.begin_epoch(tx, cluster) == 0
        assert not await restore_detection.has_moved(tx, cluster)


async def test_a_login_that_may_not_read_the_cluster_id_compares_transactions(
    clusters: tuple[Postgres, Postgres],
) -> None:
    _, other = clusters
    name = "gateway"
    url = f"postgresql://{name}:secret@127.0.0.1:{other.port}/{name}"
    revoke = "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC"
    await sql(other.url.rpartition("/")[0] + f"/{name}", revoke)
    database = open_database(url, pool=1, name="tests")
    async with database.begin() as tx:
        assert await restore_detection.cluster_of(tx) is None
        assert not await restore_detection.has_moved(tx, None)
        await restore_detection.beat(tx, None)
    await database.close()


async def _event(db: Database, tenant: UUID) -> UUID:
    async with db.begin() as tx:
        return await add_event(tx, tenant)


async def _page(db: Database, tenant: UUID, after: FeedPosition) -> list[UUID]:
    async with db.single() as tx:
        found = await feed.page(tx, [tenant], after, types=(), limit=100)
    return [event.id for event in found.events]
