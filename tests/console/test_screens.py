"""Screens without a browser: what they say in each state, and what wrong input gets."""

from uuid import UUID

import httpx
import pytest

from gateway.core.lifecycle import Finish, expired
from gateway.core.model import JobState
from gateway.store.retention import prune
from gateway.store.retention.rules import PAYLOADS
from tests.console.conftest import signed_in
from tests.web.conftest import NOBODY, World

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=NOPE", "status"),
        ("cursor=nonsense", "cursor"),
        ("span=year", "span"),
        ("label=x", "label"),
        ("createdAfter=yesterday", "createdAfter"),
        ("nonsense=1", "nonsense"),
        ("tenant=a%00b", "tenant"),
    ],
)
async def test_a_wrong_filter_is_named(
    world: World, client: httpx.AsyncClient, query: str, field: str
) -> None:
    await signed_in(world, client)
    answer = await client.get(f"/console/jobs?{query}")
    assert answer.status_code == 400
    assert field in answer.text


async def test_fields_that_a_form_left_empty_filter_nothing(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    await signed_in(world, client, "viewer")
    answer = await client.get(f"/console/jobs?tenant={slug}&workflow=&errorCode=&name=&label=")
    assert answer.status_code == 200
    assert job_id in answer.text


async def test_an_unknown_tenant_has_no_jobs(world: World, client: httpx.AsyncClient) -> None:
    await signed_in(world, client)
    answer = await client.get("/console/jobs?tenant=nobody")
    assert "No job matches" in answer.text


async def test_pages_follow_each_other(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    for _ in range(51):
        await world.job(slug)
    await signed_in(world, client)
    first = (await client.get(f"/console/jobs?tenant={slug}")).text
    assert first.count("data-row") == 50
    [place] = [
        line.partition('href="')[2].partition('"')[0]
        for line in first.splitlines()
        if ">Older<" in line
    ]
    second = (await client.get(place.replace("&amp;", "&"))).text
    assert second.count("data-row") == 1
    assert ">Newest<" in second


@pytest.mark.parametrize("job_id", [NOBODY, "nonsense", "00000000-0000-0000-0000-00000000000g"])
async def test_an_unknown_job_is_a_page_that_says_so(
    world: World, client: httpx.AsyncClient, job_id: str
) -> None:
    await signed_in(world, client)
    answer = await client.get(f"/console/jobs/{job_id}")
    assert answer.status_code == 404
    assert "There is no such" in answer.text


async def test_an_open_job_says_what_it_waits_for_and_can_be_cancelled(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    console = await signed_in(world, client, "support")
    page = (await client.get(f"/console/jobs/{job_id}")).text
    assert "No worker of the gateway" in page
    assert "The operator acts" in page
    gone = await console.post(f"/console/jobs/{job_id}/cancel")
    assert gone.headers["location"] == "/console/jobs?told=cancelled"
    assert (await client.get(f"/console/jobs/{job_id}")).status_code == 404


async def test_a_result_of_5_mb_makes_no_large_page(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    result = '{"text":"%s"}' % ("<b>&" * 1_250_000)
    await world.finish(job_id, Finish(JobState.SUCCEEDED, result=result))
    await signed_in(world, client)
    for tab in ("timeline", "result", "raw"):
        page = await client.get(f"/console/jobs/{job_id}?tab={tab}")
        assert page.status_code == 200
        assert len(page.content) < 2_000_000
    assert "cut off here" in page.text


async def test_each_part_of_a_job_can_be_kept_as_a_file(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug, metadata={"a": "\u00e9"})
    await world.finish(job_id, Finish(JobState.SUCCEEDED, result='{"size":1.10}'))
    await signed_in(world, client, "viewer")
    whole = await client.get(f"/console/jobs/{job_id}/data/result")
    assert whole.text == '{"size":1.10}'
    assert whole.headers["content-type"] == "application/json"
    assert whole.headers["content-disposition"].startswith(f'attachment; filename="job-{job_id}-')
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert (await client.get(f"/console/jobs/{job_id}/data/raw")).json()["id"] == job_id
    assert (await client.get(f"/console/jobs/{job_id}/data/metadata")).json() == {"a": "\u00e9"}
    for none in ("error", "timeline", "nonsense", "..%2f"):
        assert (await client.get(f"/console/jobs/{job_id}/data/{none}")).status_code == 404, none
    assert (await client.get(f"/console/jobs/{NOBODY}/data/raw")).status_code == 404


async def test_acts_are_in_the_audit_with_the_persons_key(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    failed, waiting = await world.job(slug), await world.job(slug)
    await world.finish(failed, expired())
    console = await signed_in(world, client, "support")
    again = await console.post(f"/console/jobs/{failed}/retry")
    await console.post(f"/console/jobs/{waiting}/cancel")
    assert (await console.post(f"/console/jobs/{failed}/cancel")).status_code == 409
    entries = await world.get(f"/admin/v1/audit?tenant={slug}&action=job.retried", world.operator)
    entries += await world.get(
        f"/admin/v1/audit?tenant={slug}&action=job.cancelled", world.operator
    )
    assert [(one["subject"], one["keyName"]) for one in entries] == [
        (failed, "test"),
        (waiting, "test"),
    ]
    assert again.headers["location"].endswith(entries[0]["detail"]["newId"])


async def test_assets_are_kept_for_good(client: httpx.AsyncClient) -> None:
    page = (await client.get("/console/sign-in")).text
    paths = [part.partition('"')[0] for part in page.split('"/console/assets/')[1:]]
    if not paths:
        pytest.skip("the assets are not built: `make assets`")
    for path in paths:
        answer = await client.get(f"/console/assets/{path.partition('#')[0]}")
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-encoding"] == "gzip"
    plain = await client.get(f"/console/assets/{paths[0]}", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("name", ["..%2f__init__.py", "manifest.json", "x.js"])
async def test_only_assets_are_served(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/console/assets/{name}")
    assert answer.status_code in (303, 404)


async def test_search_goes_to_the_only_hit(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug, batchName=f"batch & {slug}")
    await signed_in(world, client, "viewer")
    found = await client.get(f"/console/search?q={job_id}")
    assert found.headers["location"] == f"/console/jobs/{job_id}"
    found = await client.get("/console/search", params={"q": f"batch & {slug}"})
    assert job_id in (await client.get(found.headers["location"])).text
    found = await client.get(f"/console/search?q={slug}")
    assert found.headers["location"] == f"/console/tenants/{slug}"


async def test_search_lists_several_hits_or_none(world: World, client: httpx.AsyncClient) -> None:
    slugs = [await world.tenant("several") for _ in range(2)]
    await signed_in(world, client)
    page = (await client.get("/console/search?q=several-")).text
    assert all(f"/console/tenants/{slug}" in page for slug in slugs)
    assert "Nothing found" in (await client.get("/console/search?q=nothing")).text
    assert "What are you looking for?" in (await client.get("/console/search?q=")).text


async def test_a_job_shows_its_requests_as_code(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug, name="it's <b>\u202e$(id)</b>")
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/jobs/{job_id}?tab=request")).text
    for language in ("curl", "Python (httpx)", "Node (fetch)"):
        assert f"Create it again: {language}" in page
        assert f"Read it: {language}" in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert world.keys[slug] not in page


async def test_the_requests_of_a_pruned_job_say_that_the_input_is_gone(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    job_id, tenant = await world.job(slug), await world.find(slug)
    async with world.deps.db.begin() as tx:
        await prune.prune(tx, tenant.id, PAYLOADS, [UUID(job_id)])
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/jobs/{job_id}?tab=request")).text
    assert "input is not kept any more" in page


async def test_a_bundle_is_a_file(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    job_id = await world.job(slug)
    await signed_in(world, client, "viewer")
    path = f"/console/jobs/{job_id}/support-bundle"
    answer = await client.get(path)
    assert "attachment" in answer.headers["content-disposition"]
    assert answer.json()["hasPayloads"] is False
    answer = await client.get(f"{path}?payloads=true")
    assert answer.json()["job"]["workflowParams"] == {"inputUrl": "https://media.example.com/a.wav"}
    assert (await client.get(f"/console/jobs/{NOBODY}/support-bundle")).status_code == 404


async def test_times_are_chosen_and_kept(world: World, client: httpx.AsyncClient) -> None:
    console = await signed_in(world, client, "viewer")
    assert 'data-times="utc"' in (await client.get("/console/jobs")).text
    assert (await console.post("/console/times", {"times": "mars"})).status_code == 400
    answer = await console.post("/console/times", {"times": "local", "next": "//evil.example"})
    assert answer.headers["location"] == "/console"
    assert 'data-times="local"' in (await client.get("/console/jobs")).text
