"""Hostile and plentiful data: nothing runs, nothing breaks the layout, and pages stay bounded."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncpg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_console import HOSTILE
from tests.browser.visitor import Gateway, TenantOfGateway, Visitor, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway

_WIDTHS = pytest.mark.parametrize("width", [360, 1440])
_WORD = "w" * 10_000
_MARKUP = "<script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp \x1b[31m \U0001f600"
_ENDPOINTS, _TENANTS = 10_000, 500
_ADD_TENANTS = f"""
INSERT INTO tenant (id, slug, name, metadata)
SELECT gen_random_uuid(), 'many-' || lpad(n::text, 4, '0'), $1 || n, '{{}}'
FROM generate_series(1, {_TENANTS}) AS n"""
_ADD_ENDPOINTS = f"""
INSERT INTO endpoint (id, tenant_id, url, description, events)
SELECT gen_random_uuid(), t.id, 'https://hooks.example.com/' || $1 || '/' || n, $1, '{{}}'
FROM generate_series(1, {_ENDPOINTS}) AS n
JOIN tenant t ON t.slug = 'many-' || lpad(CASE WHEN n % 2 = 0 THEN '1' ELSE (n % {_TENANTS})::text END, 4, '0')"""


def sql(gateway: Gateway, statement: str, *arguments: object) -> None:
    """Run a statement on the database; in a thread, as Playwright has a loop in this one."""

    async def run() -> None:
        url = gateway.running.facts["databaseUrl"].replace("+asyncpg", "")
        connection = await asyncpg.connect(url)
        await connection.execute(statement, *arguments)
        await connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()


def visit(visitors: Visitors, width: int) -> Visitor:
    """An operator with a window of that width; a dialog that a script opens is a problem."""
    visitor = visitors.new("operator", viewport={"width": width, "height": 800})
    visitor.page.on("dialog", lambda dialog: visitors.problems.append(f"dialog {dialog.message}"))
    return visitor


def look(visitor: Visitor, path: str) -> Page:
    """Open a page: it fits, and has nothing in it that could run."""
    page = visitor.open(path)
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), path
    assert page.locator("main script, main img, main iframe").count() == 0, path
    return page


@pytest.fixture(scope="module")
def hostile(gateway: Gateway) -> TenantOfGateway:
    """A tenant whose every text is hostile."""
    tenant = gateway.tenant(name=_MARKUP)
    sent = {"url": f"http://127.0.0.1:1/{_WORD[:1500]}", "description": _MARKUP, "schedule": []}
    tenant.send("POST", "/v1/endpoint", sent)
    for name in HOSTILE:
        fields = {"batchName": name[:256], "metadata": {"note": name, "word": _WORD[:400]}}
        tenant.job(name, error="BAD_INPUT", params={"text": _WORD, name[:100]: name}, **fields)
    return tenant


@_WIDTHS
def test_hostile_texts_run_nothing_and_fit(
    width: int, visitors: Visitors, hostile: TenantOfGateway
) -> None:
    visitor, slug = visit(visitors, width), hostile.slug
    paths = [
        f"/console/{place}?tenant={slug}"
        for place in ("jobs", "deliveries", "endpoints", "dead-letters", "activity", "usage")
    ]
    for job in hostile.send("GET", "/v1/job?size=3"):
        paths += [
            f"/console/jobs/{job['id']}?tab={tab}"
            for tab in ("timeline", "input", "error", "metadata", "webhooks", "raw")
        ]
    paths += [f"/console/deliveries/{one['id']}" for one in hostile.send("GET", "/v1/delivery")[:2]]
    endpoint = hostile.send("GET", "/v1/endpoint")[0]["id"]
    paths += [f"/console/endpoints/{endpoint}", f"/console/endpoints/{endpoint}/edit"]
    paths += [f"/console/tenants/{slug}", "/console", "/console/search?q=%3Cscript%3E"]
    for path in paths:
        look(visitor, path)


def test_a_nul_is_refused_before_it_is_stored(gateway: Gateway) -> None:
    tenant = gateway.tenant()
    with pytest.raises(AssertionError, match="name"):
        tenant.waiting("a\0b")
    assert tenant.send("GET", "/v1/job") == []


@_WIDTHS
def test_a_result_of_5_mb_is_shown_in_part_and_kept_whole(
    width: int, visitors: Visitors, gateway: Gateway, tmp_path: Path
) -> None:
    tenant = gateway.tenant()
    job = tenant.job()
    result = json.dumps({"words": [_MARKUP * 10, _WORD] * 480})
    assert len(result) > 5_000_000
    sql(gateway, "UPDATE job SET result = $1 WHERE id = $2", result, job)
    page = look(visit(visitors, width), f"/console/jobs/{job}?tab=result")
    assert len(page.content()) < 2_000_000
    expect(page.locator(".json")).to_contain_text("cut off here")
    with page.expect_download() as download:
        page.click("text=Download all")
    download.value.save_as(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(result)


@pytest.fixture(scope="module")
def many(gateway: Gateway) -> Iterator[None]:
    """Many tenants and endpoints, which are gone when the tests of this module are over."""
    sql(gateway, _ADD_TENANTS, _MARKUP)
    sql(gateway, _ADD_ENDPOINTS, _WORD[:200])
    yield
    sql(gateway, "DELETE FROM endpoint WHERE url LIKE 'https://hooks.example.com/www%'")
    sql(gateway, "DELETE FROM tenant WHERE slug LIKE 'many-%'")


@pytest.mark.usefixtures("many")
@_WIDTHS
def test_many_tenants_and_endpoints_stay_pages_of_fifty(width: int, visitors: Visitors) -> None:
    visitor = visit(visitors, width)
    for path in (
        "/console/tenants?text=many-",
        "/console/endpoints",
        "/console/endpoints?tenant=many-0001",
        "/console/endpoints?health=well&url=hooks.example.com",
    ):
        page = look(visitor, path)
        expect(page.locator("tr[data-row]")).to_have_count(50)
    page = look(visitor, "/console/endpoints?tenant=many-0001")
    page.click("text=Older")
    expect(page.locator("text=Newest").first).to_be_visible()
    for path in (
        "/console/queues",
        "/console/usage?tenant=many-0001",
        "/console/tenants/many-0001",
    ):
        look(visitor, path)
