"""The list of jobs without a browser: columns, counts, saved views, exports, live or paused."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from gateway.core.lifecycle import Finish, error_of
from gateway.core.model import JobState
from gateway.flows.bulk.jobs import retry_jobs
from gateway.store.job_search.filter import JobFilter
from tests.console.conftest import signed_in
from tests.web.conftest import World

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = '<script>alert(1)</script>\u202e"&'


def failed(code: str = "BAD_INPUT") -> Finish:
    """The end of a job that failed with a code."""
    return Finish(JobState.FAILED, error=error_of(code, "Bad", HOSTILE))


def headings(page: str) -> list[str]:
    """The headings of the columns."""
    table = page.partition("<thead>")[2].partition("</thead>")[0]
    found = re.findall(r'<th scope="col"[^>]*><bdi>(.*?)</bdi>', table)
    return [html.unescape(one) for one in found]


def counts(page: str) -> dict[str, str]:
    """What the counts say, by their links' status or code."""
    found = re.findall(r'<li><a href="([^"]*)">.*?<strong>(.*?)</strong>', page)
    queries = [(parse_qs(urlsplit(html.unescape(href)).query), words) for href, words in found]
    return {(one.get("errorCode") or one["status"])[0]: words for one, words in queries}


# --- Columns --------------------------------------------------------------------------------------


async def test_the_usual_columns_and_chosen_ones(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    await world.job(slug, name=HOSTILE, batchName="b&b", metadata={"a=b": HOSTILE, "n": "1"})
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/jobs?tenant={slug}")).text
    assert headings(page) == ["Accepted", "Tenant", "Name", "Workflow", "State", "Why", "Took"]
    chosen = (
        "columns=name&columns=batch&columns=upstream&columns=ended&columns=id&columns=label:a%3Db"
    )
    page = (await client.get(f"/console/jobs?tenant={slug}&{chosen}&columns=label:none")).text
    assert headings(page) == ["Name", "Batch", "Upstream id", "Ended", "Id", "a=b", "none"]
    assert "b&amp;b" in page
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;") >= 2


async def test_a_form_chooses_columns_and_adds_one(world: World, client: httpx.AsyncClient) -> None:
    await signed_in(world, client, "viewer")
    asked = "/console/jobs/columns?status=FAILED&columns=name&columns=state&addLabel=customer"
    answer = await client.get(asked)
    assert answer.status_code == 303
    to = answer.headers["location"]
    assert parse_qs(urlsplit(to).query) == {
        "status": ["FAILED"],
        "columns": ["name", "state", "label:customer"],
    }
    assert (await client.get(to)).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "columns=nope",
        "columns=label:",
        f"columns=label:{'x' * 129}",
        "live=maybe",
        "&".join(f"columns=label:{n}" for n in range(21)),
    ],
)
async def test_a_wrong_column_is_named(world: World, client: httpx.AsyncClient, query: str) -> None:
    await signed_in(world, client, "viewer")
    answer = await client.get(f"/console/jobs?{query}")
    assert answer.status_code == 400
    assert query.partition("=")[0] in answer.text


# --- Counts ---------------------------------------------------------------------------------------


async def test_counts_lead_to_their_jobs(world: World, client: httpx.AsyncClient) -> None:
    slug, other = await world.tenant("acme"), await world.tenant("other")
    jobs = [await world.job(slug, batchName=f"b{n % 2}") for n in range(6)]
    await world.job(other)
    for job_id, code in zip(jobs, ["BAD_INPUT", "BAD_INPUT", "TIMEOUT"], strict=False):
        await world.finish(job_id, failed(code))
    await signed_in(world, client, "viewer")
    listed = (await client.get(f"/console/jobs?tenant={slug}&columns=name")).text
    [place] = re.findall(r'<div id="counts"[^>]*hx-get="([^"]*)"', listed)
    page = (await client.get(html.unescape(place))).text
    assert counts(page) == {
        "QUEUED": "3",
        "STARTED": "0",
        "SUCCEEDED": "0",
        "FAILED": "3",
        "BAD_INPUT": "2",
        "TIMEOUT": "1",
    }
    [to] = re.findall(r'href="([^"]*errorCode=BAD_INPUT[^"]*)"', page)
    assert (await client.get(html.unescape(to))).text.count("data-row") == 2
    narrow = (await client.get(f"/console/jobs/counts?tenant={slug}&batchName=b0")).text
    assert counts(narrow)["FAILED"] == "2"
    nobody = (await client.get("/console/jobs/counts?tenant=nobody")).text
    assert counts(nobody) == {}


# --- Saved views ----------------------------------------------------------------------------------


async def test_a_view_is_saved_renamed_shared_and_deleted(
    world: World, client: httpx.AsyncClient
) -> None:
    console = await signed_in(world, client, "viewer")
    query = "status=FAILED&span=night&columns=name"
    kept = await console.post("/console/jobs/views", {"name": HOSTILE, "query": f"{query}&cursor="})
    assert kept.status_code == 303, kept.text
    assert kept.headers["location"] == f"/console/jobs?{query}&told=saved"
    page = (await client.get(f"/console/jobs?{query}")).text
    chips = page.partition('aria-label="Saved views"')[2].partition("</nav>")[0]
    assert "<script>" not in chips
    assert 'aria-current="true"' in chips
    views = (await client.get("/console/jobs/views")).text
    [path] = set(re.findall(r'action="(/console/jobs/views/[0-9a-f-]{36})"', views))
    changed = await console.post(path, {"name": "nightly", "shared": "yes"})
    assert changed.status_code == 303
    views = (await client.get("/console/jobs/views")).text
    assert "nightly" in views
    assert "shown to all staff" in views
    assert (await console.post(f"{path}/delete")).status_code == 303
    assert "nightly" not in (await client.get("/console/jobs/views")).text
    assert (await console.post(f"{path}/delete")).status_code == 404


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": " ", "query": ""}, "name"),
        ({"name": "x" * 61, "query": ""}, "name"),
        ({"name": "x", "query": "nope=1"}, "nope"),
        ({"name": "x", "query": "columns=nope"}, "columns"),
        ({"name": "x", "query": "name=" + "x" * 4000 + "&batchName=" + "x" * 4050}, "name"),
    ],
)
async def test_a_wrong_view_is_refused(
    world: World, client: httpx.AsyncClient, form: dict[str, str], field: str
) -> None:
    console = await signed_in(world, client, "viewer")
    answer = await console.post("/console/jobs/views", form)
    assert answer.status_code == 400
    assert field in answer.text


# --- Exports --------------------------------------------------------------------------------------


async def test_the_filter_is_exported_as_the_api_does(
    world: World, client: httpx.AsyncClient
) -> None:
    slug = await world.tenant("acme")
    for n in range(3):
        await world.job(slug, name=f"=song {n}", batchName=f"b{n % 2}")
    await signed_in(world, client, "viewer")
    page = (await client.get(f"/console/jobs?tenant={slug}&batchName=b0&columns=name")).text
    links = [html.unescape(one) for one in re.findall(r'href="(/console/jobs/export[^"]*)"', page)]
    of_api = await world.call("GET", "/v1/job?batchName=b0&format=csv", slug)
    csv, ndjson = [await client.get(one) for one in links]
    assert csv.text == of_api.text
    assert csv.headers["content-disposition"].startswith('attachment; filename="jobs-')
    of_api = await world.call("GET", "/v1/job?batchName=b0&format=ndjson", slug)
    assert ndjson.text == of_api.text
    assert len(ndjson.text.splitlines()) == 2
    assert ndjson.headers["content-type"] == "application/x-ndjson"
    assert (await client.get("/console/jobs/export?format=xml")).status_code == 400


# --- Live or paused -------------------------------------------------------------------------------


async def test_a_paused_list_says_so_and_asks_for_nothing(
    world: World, client: httpx.AsyncClient
) -> None:
    await signed_in(world, client, "viewer")
    live = (await client.get("/console/jobs?status=FAILED")).text
    assert ">live</span>" in live
    assert "data-live" in live
    [pause] = re.findall(r'href="([^"]*live=off[^"]*)"', live)
    paused = (await client.get(html.unescape(pause))).text
    assert ">paused</span>" in paused
    assert "data-live" not in paused
    assert 'href="/console/jobs?status=FAILED"' in paused


async def test_others_see_that_an_operation_runs(world: World, client: httpx.AsyncClient) -> None:
    slug = await world.tenant("acme")
    await world.finish(await world.job(slug), failed())
    tenant = await world.find(slug)
    begun = await retry_jobs(world.deps, tenant.id, JobFilter(None, error_codes=("BAD_INPUT",)))
    await signed_in(world, client, "viewer")
    for path in (
        "/console/jobs",
        "/console/jobs?live=off",
        "/console/jobs/new?after=00000000-0000-0000-0000-000000000000",
    ):
        page = (await client.get(path)).text
        assert f"/console/bulk/{begun.id}" in page  # type: ignore[union-attr]
        assert "Retry jobs</a> is running" in page
