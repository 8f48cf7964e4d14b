"""Event types, the feed, the check and the bundle in the portal: the same pages, limited to the tenant."""

import httpx
import pytest

from gateway.core.webhooks.receiver_probe import FoundAddresses, ReceiverProbe, TriedAddress
from tests.console.test_portal import entered
from tests.console.webhooks.test_events import listed, rows
from tests.web.conftest import World
from tests.web.webhooks import endpoint, event

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_feed_and_the_types_show_only_the_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    rival = await world.tenant("globex")
    theirs, mine = str(await event(world, rival)), str(await event(world, acme))
    to = await endpoint(world, rival, url="https://hooks.globex.example/a")
    await listed(world, acme, 1)
    await listed(world, rival, 1)
    portal = await entered(world, client, acme)
    for path in (f"/portal/feed?tenant={rival}", "/portal/feed", f"/portal/feed?before={theirs}"):
        page = (await portal.get(path)).text
        assert theirs not in rows(page, "/portal")
        assert "globex" not in page.replace(rival, "")
    assert rows((await portal.get("/portal/feed")).text, "/portal") == [mine]
    assert (await portal.get(f"/portal/feed/{mine}")).status_code == 200
    assert (await portal.get(f"/portal/feed/{theirs}")).status_code == 404
    page = (await portal.get(f"/portal/events?tenant={rival}")).text
    assert to not in page
    assert "No endpoint of the tenant takes it" in page


async def test_a_check_hides_the_operators_network_from_the_tenant(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    to = await endpoint(world, acme, url="https://inside.example/a")
    world.sender.probed["https://inside.example/a"] = ReceiverProbe(
        lookup=FoundAddresses(("10.1.2.3",), 0.01),
        inside=("10.1.2.3",),
        tried=(TriedAddress("10.1.2.3", 0.01),),
    )
    portal = await entered(world, client, acme)
    page = (await portal.post(f"/portal/endpoints/{to}/check")).text
    assert "The receiver works" in page
    assert "10.1.2.3" not in page
    rival = await endpoint(world, await world.tenant("globex"))
    assert (await portal.post(f"/portal/endpoints/{rival}/check")).status_code == 404
    reader = await entered(world, client, acme, read_only=True)
    assert (await reader.post(f"/portal/endpoints/{to}/check")).status_code == 403


async def test_a_bundle_is_of_the_tenants_own_jobs(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    mine, theirs = await world.job(acme), await world.job(await world.tenant("globex"))
    portal = await entered(world, client, acme)
    found = await portal.get(f"/portal/jobs/{mine}/support-bundle")
    assert found.json()["job"]["id"] == mine
    assert (await portal.get(f"/portal/jobs/{theirs}/support-bundle")).status_code == 404


async def test_pages_that_a_link_leaves_out_are_not_linked(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    job = await world.job(acme)
    await event(world, acme, "job.failed", job)
    await listed(world, acme, 1)
    portal = await entered(world, client, acme, pages=["events"])
    for path in ("/portal/feed", "/portal/events"):
        page = (await portal.get(path)).text
        assert 'href="/portal/jobs/' not in page
        assert 'href="/portal/signature"' not in page
    other = await entered(world, client, acme, pages=["usage"])
    for path in ("/portal/feed", "/portal/events"):
        assert (await other.get(path)).status_code == 403


async def test_the_times_are_kept_apart_from_the_consoles(
    world: World, client: httpx.AsyncClient, acme: str
) -> None:
    portal = await entered(world, client, acme)
    answer = await portal.post("/portal/times", {"times": "local", "next": "/portal/jobs"})
    assert answer.headers["location"] == "/portal/jobs"
    assert answer.headers["set-cookie"].startswith("__Host-gateway-portal-times=local; Path=/")
    assert "Partitioned" in answer.headers["set-cookie"]
    assert 'data-times="local"' in (await portal.get("/portal/jobs")).text
