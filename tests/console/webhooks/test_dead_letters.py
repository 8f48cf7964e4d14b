"""Dead letters without a browser: grouped by reason, counted, and resent as a group."""

import html
import re

import httpx
import pytest

from tests.console.conftest import signed_in
from tests.console.webhooks.test_endpoints import hidden
from tests.web.conftest import World
from tests.web.webhooks import delivery, endpoint, tried

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def dead(world: World, slug: str, to: str | None, status: int | None, count: int) -> None:
    for _ in range(count):
        made = await delivery(world, slug, to)
        klass = f"http_{status // 100}xx" if status else "timeout"
        await tried(world, slug, made, status=status, error_class=klass)


def counts(page: str) -> list[int]:
    return [int(text) for text in re.findall(r'<td class="number">(\d+)</td>', page)]


def links(page: str, path: str) -> list[str]:
    return [html.unescape(one) for one in re.findall(rf'href="({path}\?[^"]*)"', page)]


async def test_groups_are_counted_and_one_is_sent(world: World, client: httpx.AsyncClient) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    to, off = await endpoint(world, slug), await endpoint(world, slug)
    await dead(world, slug, to, 503, 4)
    await dead(world, slug, to, 500, 3)
    await dead(world, slug, None, None, 2)
    await dead(world, slug, off, 404, 1)
    await dead(world, other, await endpoint(world, other), 503, 5)
    await world.send("POST", f"/v1/endpoint/{off}/disable", slug, {})
    console = await signed_in(world, client, "support")
    page = (await client.get(f"/console/dead-letters?tenant={slug}")).text
    assert counts(page) == [4, 3, 2, 1]
    assert "enable it first" in page
    assert set(re.findall(r"tenant=([a-z0-9-]+)", page)) == {slug}
    every, first, _, callbacks = links(page, "/console/dead-letters/send")
    for path, expected in ((every, 9), (first, 4), (callbacks, 2)):
        counted = (await client.get(path)).text
        assert f"Resend {expected} dead letters" in counted
    counted = (await client.get(first)).text
    begun = await console.post(first, hidden(counted))
    assert begun.status_code == 303, begun.text
    assert "0</strong> of 4" in (await client.get(begun.headers["location"])).text
    [listed] = await world.get("/v1/bulk", slug)
    assert (listed["kind"], listed["total"]) == ("resend", 4)
    found = (await client.get(links(page, "/console/deliveries")[0])).text
    assert found.count("data-row") == 4


async def test_staff_see_all_tenants_and_nobody_sends_those_of_all(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    await dead(world, slug, await endpoint(world, slug), 503, 1)
    console = await signed_in(world, client, "support")
    page = (await client.get("/console/dead-letters")).text
    assert slug in page
    assert "Count all of them" not in page
    for path, status in (
        ("", 400),
        ("?tenant=nobody-at-all", 404),
        (f"?tenant={slug}&tenant=x", 400),
        (f"?tenant={slug}&httpStatus=200", 400),
    ):
        answer = await console.post(f"/console/dead-letters/send{path}", {"until": "2030-01-01"})
        assert answer.status_code == status, path
    bad = await console.post(f"/console/dead-letters/send?tenant={slug}", {"until": "x"})
    assert bad.status_code == 400


async def test_a_viewer_may_not_send_and_an_empty_list_says_so(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    console = await signed_in(world, client, "viewer")
    assert "No dead letters" in (await client.get(f"/console/dead-letters?tenant={slug}")).text
    answer = await console.post(
        f"/console/dead-letters/send?tenant={slug}", {"until": "2030-01-01"}
    )
    assert answer.status_code == 403


async def test_only_the_largest_groups_are_shown(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.flows.read.deliveries._MOST_GROUPS", 2)
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    for status, count in ((500, 3), (503, 2), (404, 1)):
        await dead(world, slug, to, status, count)
    await signed_in(world, client, "support")
    page = (await client.get(f"/console/dead-letters?tenant={slug}")).text
    assert counts(page) == [3, 2]
    assert "6 webhooks that no attempt follows" in page
    assert "1 smaller ones are not shown" in page
