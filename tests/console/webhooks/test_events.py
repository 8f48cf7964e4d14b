"""Event types and the feed without a browser: what they show, to whom, and what is refused."""

import html
import re

import httpx
import pytest

from gateway.core.events import EVENT_TYPES
from tests.console.conftest import signed_in
from tests.web.conftest import NOBODY, World
from tests.web.webhooks import delivery, endpoint, event

pytestmark = pytest.mark.asyncio(loop_scope="module")


def rows(page: str, home: str = "/console") -> list[str]:
    """The ids of the events of a list."""
    return re.findall(rf'href="{home}/feed/([0-9a-f-]{{36}})" data-open', page)


async def listed(world: World, slug: str, count: int) -> None:
    """Wait until the feed shows this many events: another test may hold them back for a moment."""
    world.invents = True
    found = await world.get(f"/v1/event?size={count}&wait=1", slug)
    while len(found) < count:
        found = await world.get(f"/v1/event?size={count}&wait=1", slug)


async def test_each_type_is_shown_with_an_example_and_its_schema(
    world: World, client: httpx.AsyncClient
) -> None:
    await signed_in(world, client, "viewer")
    for kind in EVENT_TYPES:
        page = (await client.get(f"/console/events?type={kind}")).text
        assert f"{kind}: an example" in page
        assert "json-schema.org" in page
        assert f"/docs#webhook-{kind}" in page
        assert "Name a tenant" in page
    docs = (await client.get("/docs")).text
    assert all(f"id='webhook-{kind}'" in docs for kind in EVENT_TYPES)


async def test_the_endpoints_that_take_a_type_can_be_tested(
    world: World, client: httpx.AsyncClient
) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    every, some = await endpoint(world, slug), await endpoint(world, slug, events=["job.failed"])
    theirs = await endpoint(world, other)
    console = await signed_in(world, client, "support")
    page = (await client.get(f"/console/events?tenant={slug}&type=job.failed")).text
    assert every in page
    assert some in page
    assert theirs not in page
    page = (await client.get(f"/console/events?tenant={slug}&type=job.started")).text
    assert some not in page
    [action] = re.findall(r'action="(/console/endpoints/[^"]+/test)"', page)
    sent = await console.post(action, {"type": "job.started"})
    assert sent.status_code == 303
    [found] = await world.get(f"/v1/delivery?endpoint={every}", slug)
    assert found["type"] == "job.started"


async def test_a_viewer_sends_no_test(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    to = await endpoint(world, slug)
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/events?tenant={slug}")).text
    assert to in page
    assert "Send a test" not in page
    empty = await world.tenant("empty")
    assert "No endpoint of the tenant" in (await client.get(f"/console/events?tenant={empty}")).text


async def test_the_feed_shows_the_newest_events_and_a_place_to_go_on(
    world: World, client: httpx.AsyncClient
) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    made = [str(await event(world, slug)) for _ in range(3)]
    made.append(str(await event(world, slug, "job.failed", await world.job(slug))))
    await event(world, other)
    await listed(world, slug, 4)
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/feed?tenant={slug}")).text
    assert rows(page) == made[::-1]
    assert f"after={made[-1]}" in page
    assert "data-live" in page
    page = (await client.get(f"/console/feed?tenant={slug}&type=job.failed")).text
    assert rows(page) == made[-1:]
    page = (await client.get(f"/console/feed?tenant={slug}&live=off")).text
    assert "data-live" not in page
    assert "Paused" in page
    page = (await client.get(f"/console/feed?tenant={slug}&before={made[2]}")).text
    assert rows(page) == made[1::-1]
    assert rows((await client.get("/console/feed")).text)[:1]


async def test_the_feed_goes_on_from_where_the_screen_says(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    await event(world, slug)
    await listed(world, slug, 1)
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/feed?tenant={slug}")).text
    [after] = re.findall(r"/v1/event\?after=([0-9a-f-]+)", page)
    later = str(await event(world, slug))
    found = await world.get(f"/v1/event?after={after}&wait=5", slug)
    assert [one["id"] for one in found] == [later]


async def test_pages_of_the_feed(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    made = [str(await event(world, slug)) for _ in range(51)]
    await listed(world, slug, 51)
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/feed?tenant={slug}")).text
    assert rows(page) == made[:0:-1]
    [older] = re.findall(r'href="([^"]+)">Older<', page)
    assert rows((await client.get(html.unescape(older))).text) == made[:1]


async def test_an_event_is_shown_with_its_json(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    job = await world.job(slug, name="<b>bold</b>")
    await world.send("DELETE", f"/v1/job/{job}", slug)
    await listed(world, slug, 1)
    [found] = await world.get("/v1/event", slug)
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/feed/{found['id']}")).text
    assert "job.deleted" in page
    assert "&lt;b&gt;bold" in page
    assert "<b>bold" not in page
    assert f"/console/jobs/{job}" in page


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("feed?type=job.exploded", 400),
        ("feed?before=x", 400),
        (f"feed?before={NOBODY}", 200),
        ("feed?tenant=nobody-at-all", 404),
        ("feed?live=perhaps", 400),
        (f"feed/{NOBODY}", 404),
        ("events?type=job.exploded", 400),
        ("events?tenant=nobody-at-all", 404),
        ("events?tenant=a&tenant=b", 400),
    ],
)
async def test_wrong_input_is_refused(
    world: World, client: httpx.AsyncClient, path: str, status: int
) -> None:
    await signed_in(world, client)
    assert (await client.get(f"/console/{path}")).status_code == status


async def test_an_empty_feed_says_what_to_do(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("empty")
    await signed_in(world, client, "viewer")
    assert "No event matches" in (await client.get(f"/console/feed?tenant={slug}")).text
    to = await endpoint(world, slug)
    await delivery(world, slug, to)
    await listed(world, slug, 1)
    assert rows((await client.get(f"/console/feed?tenant={slug}")).text)
