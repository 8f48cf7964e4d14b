"""Now: the charts and the counts of the last hour, by what the heartbeats have reported."""

import html
import re

import httpx
import pytest
import pytest_asyncio

from gateway.console.screens.now_charts import compared
from gateway.flows.health.heartbeat import Heart
from gateway.flows.process.throughput import Throughput
from gateway.store.processes import Identity
from gateway.store.work import bulk_operations
from tests.console.conftest import signed_in
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_done(world: World) -> None:
    """No work was reported yet."""
    world.deps.vitals.throughput = Throughput()
    async with world.deps.db.single() as tx:
        await tx.run("DELETE FROM throughput")


async def beat(world: World) -> None:
    assert await Heart(world.deps, Identity(world.deps.ids.uuid(), "worker", "h", 1, "1")).beat()


async def test_the_charts_show_what_was_done(world: World, client: httpx.AsyncClient) -> None:
    done = world.deps.vitals.throughput
    for state in ("succeeded", "succeeded", "failed"):
        done.note("accept", "accepted", 0.0, {})
        done.note("job", state, 2.0, {"queue_seconds": 0.5, "upstream_seconds": 1.0})
    done.note("deliver", "exhausted", 0.02, {})
    await beat(world)
    await signed_in(world, client, "viewer")

    for window in ("1h", "24h", "7d"):
        page = (await client.get(f"/console?window={window}")).text
        assert page.count('<rect class="good"') == 1
        assert page.count('<rect class="bad"') == 2, "a failed job, and a failed attempt"
        assert page.count("<path class=") == 3, "p50, p95, p99"
        assert "none in this hour yesterday" in page
        assert "33.3 % of those that ended" in page
        assert f'href="/console?window={window}" aria-current="true"' in page


async def test_without_work_the_charts_are_empty(world: World, client: httpx.AsyncClient) -> None:
    await signed_in(world, client, "viewer")
    page = (await client.get("/console")).text
    assert page.count("Nothing in this time.") == 4
    assert "<rect" not in page


async def test_the_calls_of_the_upstream_stand_beside_the_jobs(
    world: World, client: httpx.AsyncClient
) -> None:
    done = world.deps.vitals.throughput
    for outcome in (*("answered",) * 8, "limited", "failed"):
        done.note_call(outcome, 0.25)
    await beat(world)
    await signed_in(world, client, "viewer")
    page = (await client.get("/console")).text
    assert "1 failed, 1 told to slow down" in page
    assert re.search(r"upstream answers in</span><span [^>]*>2[45]\d ms</span>", page)
    assert "p95 2" in page


async def test_each_figure_leads_to_its_list(world: World, client: httpx.AsyncClient) -> None:
    await signed_in(world, client, "viewer")
    page = (await client.get("/console")).text
    figures = re.findall(r'<(a|div) class="tile"(?: href="([^"]+)")?', page)
    assert len(figures) == 12
    assert {kind for kind, _ in figures} == {"a"}
    for path in {html.unescape(href) for _, href in figures}:
        assert (await client.get(path)).status_code == 200, path


async def test_running_bulk_operations_are_counted(world: World, client: httpx.AsyncClient) -> None:
    await world.tenant("acme")
    async with world.deps.db.single() as tx:
        before = await bulk_operations.running_of_all(tx)
        await tx.run(
            "INSERT INTO bulk (id, tenant_id, kind, filter, total, until) SELECT gen_random_uuid(), id,"
            " 'resend', '{}', 5, gen_random_uuid() FROM tenant LIMIT 1"
        )
        assert await bulk_operations.running_of_all(tx) == before + 1


async def test_a_window_that_there_is_not_is_named(world: World, client: httpx.AsyncClient) -> None:
    await signed_in(world, client, "viewer")
    answer = await client.get("/console?window=2h")
    assert answer.status_code == 400
    assert "window" in answer.text


@pytest.mark.parametrize(
    ("number", "yesterday", "words"),
    [
        (5, 0, "none in this hour yesterday"),
        (0, 10, "100 % less than yesterday"),
        (104, 100, "4 % more than yesterday"),
        (1000, 1001, "as in this hour yesterday"),
    ],
)
async def test_a_count_is_compared_in_words(number: int, yesterday: int, words: str) -> None:
    assert compared(number, yesterday) == words
