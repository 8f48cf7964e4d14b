"""Acts on many jobs without a browser: counted as of a moment, then begun once, on one tenant."""

import html
import re
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from gateway.console.screens.job_list import selection
from tests.console.conftest import Console, signed_in
from tests.console.test_job_list import failed
from tests.console.webhooks.test_endpoints import hidden
from tests.web.conftest import NOBODY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


def act(name: str, *ids: str, **query: str) -> str:
    """The page of an act on ids, or on all that match."""
    return "/console/jobs/act?" + urlencode(
        [("act", name), *query.items(), *(("id", i) for i in ids)]
    )


async def begun(world: World, console: Console, path: str, **form: str) -> dict[str, Any]:
    """The operation that the page of an act begins."""
    page = (await console.get(path)).text
    answer = await console.post(path, {**hidden(page), **form})
    assert answer.status_code == 303, answer.text
    place = answer.headers["location"]
    async with world.deps.db.single() as tx:
        row = await tx.one(
            "SELECT b.*, t.slug FROM bulk b JOIN tenant t ON t.id = b.tenant_id WHERE b.id = $1::uuid",
            place.rpartition("/")[2],
        )
    return {"kind": row.kind, "total": row.total, "slug": row.slug, "place": place}


async def test_ticked_jobs_are_retried_cancelled_and_their_webhooks_resent(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    ended, waiting = await world.job(slug, name="<b>song</b>"), await world.job(slug)
    await world.finish(ended, failed())
    console = await signed_in(world, client, "support")
    page = (await console.get(act("retry", ended, waiting))).text
    assert "Retry 1 job" in page
    assert "1 of the 2 that you ticked" in page
    assert "&lt;b&gt;song" in page
    for name, kind, total in (
        ("retry", "retry-jobs", 1),
        ("cancel", "cancel-jobs", 1),
        ("resend", "resend-webhooks", 2),
    ):
        made = await begun(world, console, act(name, ended, waiting, status="QUEUED"))
        assert (made["kind"], made["total"], made["slug"]) == (kind, total, slug)


async def test_all_that_match_of_one_tenant(world: World, client: httpx.AsyncClient) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    for n in range(4):
        await world.finish(await world.job(slug, batchName=f"b{n % 2}"), failed())
    await world.finish(await world.job(other), failed())
    console = await signed_in(world, client, "support")
    page = (await console.get(act("retry", tenant=slug, errorCode="BAD_INPUT"))).text
    assert "Creates 4 new jobs" in page
    assert "UTC; jobs that were accepted later stay" in page
    made = await begun(world, console, act("retry", tenant=slug, batchName="b0", span="hour"))
    assert (made["kind"], made["total"]) == ("retry-jobs", 2)
    [entry, *_] = await world.get("/admin/v1/audit?action=bulk.started", world.operator)
    assert entry["subject"] == made["place"].rpartition("/")[2]


async def test_without_one_tenant_staff_must_choose(
    world: World, client: httpx.AsyncClient
) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    jobs = [await world.job(one, batchName="both") for one in (slug, other)]
    console = await signed_in(world, client, "support")
    for path in (
        act("cancel", *jobs),
        act("cancel", batchName="both"),
        act("cancel") + f"&tenant={slug}&tenant={other}",
    ):
        page = await console.get(path)
        assert page.status_code == 200
        assert "Choose a tenant" in page.text
        links = re.findall(r'<li><a href="([^"]*act=cancel[^"]*)">', page.text)
        assert len(links) == 2, path
        chosen = (await console.get(html.unescape(links[0]))).text
        assert "Cancel 1 job" in chosen
        form = {"until": "2030-01-01", "once": NOBODY, "counted": "1"}
        assert (await console.post(path, form)).status_code == 400


async def test_what_comes_later_is_left_out_or_counted_again(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    await world.finish(await world.job(slug), failed())
    late = await world.job(slug)
    console = await signed_in(world, client, "support")
    path = act("retry", tenant=slug)
    form = hidden((await console.get(path)).text)
    await world.finish(await world.job(slug), failed())  # accepted after the count
    await world.finish(late, failed())  # accepted before it, and failed after it
    again = await console.post(path, form)
    assert again.status_code == 200
    assert "Nothing has begun" in again.text
    assert "Retry 2 jobs" in again.text
    assert await world.get("/v1/bulk", slug) == []
    assert (await console.post(path, hidden(again.text))).status_code == 303
    [listed] = await world.get("/v1/bulk", slug)
    assert listed["total"] == 2


async def test_a_form_that_is_sent_twice_begins_once(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    await world.finish(await world.job(slug), failed())
    console = await signed_in(world, client, "support")
    path = act("retry", tenant=slug)
    form = hidden((await console.get(path)).text)
    places = {(await console.post(path, form)).headers["location"] for _ in range(2)}
    assert len(places) == 1
    assert len(await world.get("/v1/bulk", slug)) == 1


async def test_to_cancel_very_many_the_number_is_typed(
    world: World, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "MOST_AT_ONCE", 2)
    slug = await world.tenant("acme")
    for _ in range(3):
        await world.job(slug)
    console = await signed_in(world, client, "support")
    path = act("cancel", tenant=slug)
    page = (await console.get(path)).text
    assert "Type 3 to confirm" in page
    form = hidden(page)
    for typed in ({}, {"typed": "2"}):
        refused = await console.post(path, {**form, **typed})
        assert refused.status_code == 400
        assert "Type 3 to go on." in refused.text
    lying = await console.post(path, {**form, "counted": "2"})
    assert "Nothing has begun" in lying.text
    assert await world.get("/v1/bulk", slug) == []
    assert (await console.post(path, {**form, "typed": " 3 "})).status_code == 303


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (act("erase"), 400),
        ("/console/jobs/act", 400),
        (act("retry", "x"), 400),
        (act("retry", NOBODY), 404),
        (act("retry", tenant="nobody-at-all"), 404),
        (act("retry", tenant="nobody-at-all", status="QUEUED"), 404),
    ],
)
async def test_a_wrong_act_is_refused(
    world: World, client: httpx.AsyncClient, path: str, status: int
) -> None:
    console = await signed_in(world, client, "support")
    assert (await console.get(path)).status_code == status
    form = {"until": "2030-01-01", "once": NOBODY, "counted": "1"}
    assert (await console.post(path, form)).status_code == status


async def test_wrong_fields_of_the_form_are_named(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    console = await signed_in(world, client, "support")
    form = {"until": "2030-01-01", "once": NOBODY, "counted": "1"}
    for name in form:
        answer = await console.post(act("retry", tenant=slug), {**form, name: "x"})
        assert answer.status_code == 400
        assert name in answer.text
    for name, state in (("retry", "QUEUED"), ("cancel", "FAILED")):
        answer = await console.get(act(name, tenant=slug, status=state))
        assert answer.status_code == 400
        assert "status" in answer.text


async def test_viewers_and_suspended_tenants(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    await world.send("POST", f"/admin/v1/tenant/{slug}/suspend", world.operator)
    console = await signed_in(world, client, "support")
    assert (await console.get(act("cancel", job_id))).status_code == 403
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/jobs?tenant={slug}")).text
    assert "Ticked jobs" not in page
    assert 'type="checkbox" name="id"' not in page
    assert (await client.get(act("cancel", job_id))).status_code == 403
