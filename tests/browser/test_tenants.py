"""Tenants in a real browser: find one, change it, its keys, suspend and resume, erase."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_console import HOSTILE
from tests.browser.visitor import Gateway, Visitors


def _fits(page: Page) -> bool:
    return page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


def test_a_tenant_is_found_among_hundreds(visitors: Visitors, gateway: Gateway) -> None:
    made = gateway.tenant(name="Needle & Söhne <b>")
    for n in range(60):
        gateway.admin("POST", "/tenant", {"slug": f"hay-{n:03}", "name": f"Hay {n}"})
    page = visitors.new("viewer", java_script_enabled=False).open("/console/tenants?text=HAY")
    rows = page.locator("tr[data-row]")
    expect(rows).to_have_count(50)
    page.click("text=More")
    expect(rows).to_have_count(10)
    page.click("text=First")
    expect(rows).to_have_count(50)
    page.fill("input[name=text]", "söhne <")
    page.click("button:has-text('Filter')")
    expect(rows).to_have_count(1)
    page.click(f"text={made.slug}")
    expect(page.locator("h1")).to_have_text("Needle & Söhne <b>")
    page.goto("/console/tenants?text=nobody-has-this")
    expect(page.locator(".empty")).to_contain_text("No tenant matches")


def test_limits_change_and_show_who_changed_them(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant(limits={"maxQueued": 50})
    tenant.send("POST", "/v1/endpoint", {"url": "https://hooks.example.com/a"})
    page = visitors.new("operator").open(f"/console/tenants/{tenant.slug}")
    expect(page.locator(".uses tr", has_text="Waiting jobs")).to_contain_text("0 of 50")
    expect(page.locator(".uses tr", has_text="Endpoints")).to_contain_text("1 of 100 default")
    page.click("text=Change limits and retention")
    # Somebody else changes another limit meanwhile; the form does not undo it.
    gateway.admin("PATCH", f"/tenant/{tenant.slug}", {"limits": {"maxInFlight": 7}})
    page.fill("input[name=maxQueued]", "60")
    page.fill("input[name=keepJobsDays]", "30")
    page.click("button:has-text('Change limits')")
    expect(page.locator(".notice.good")).to_contain_text("limits are changed")
    found = gateway.admin("GET", f"/tenant/{tenant.slug}")["limits"]
    assert (found["maxQueued"], found["maxInFlight"], found["keepJobsDays"]) == (60, 7, 30)
    assert found["maxRate"] is None
    act = page.locator(".acts li").first
    expect(act).to_contain_text("limits.maxQueued 50 to 60")
    expect(act).to_contain_text("limits.keepJobsDays default to 30")


def test_a_wrong_limit_is_told_and_changes_nothing(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    visitor = visitors.new("operator")
    visitor.expect(400)
    page = visitor.open(f"/console/tenants/{tenant.slug}")
    page.click("text=Change limits and retention")
    page.fill("input[name=maxQueued]", "-3")
    page.fill("input[name=maxRate]", "many")
    page.click("button:has-text('Change limits')")
    expect(page.locator("main")).to_contain_text("maxQueued")
    expect(page.locator("main")).to_contain_text("maxRate")
    assert set(gateway.admin("GET", f"/tenant/{tenant.slug}")["limits"].values()) == {None}


def test_a_suspension_shows_its_reason_until_the_tenant_is_resumed(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    page = visitors.new("operator", java_script_enabled=False).open(
        f"/console/tenants/{tenant.slug}"
    )
    page.click("summary:has-text('Suspend')")
    page.fill("input[name=reason]", "invoice 7 <script> is open")
    page.click(f"button:has-text('Suspend {tenant.slug}')")
    expect(page.locator(".verdict")).to_contain_text("invoice 7 <script> is open")
    assert gateway.admin("GET", f"/tenant/{tenant.slug}")["suspendedAt"] is not None
    reader = visitors.new("viewer").open(f"/console/tenants?text={tenant.slug}")
    expect(reader.locator("tr[data-row]")).to_contain_text("suspended")
    page.click("button:has-text('Resume')")
    expect(page.locator(".notice.good")).to_contain_text("resumed")
    assert gateway.admin("GET", f"/tenant/{tenant.slug}")["suspendedAt"] is None


def test_a_new_key_is_shown_once_and_works_until_it_is_revoked(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    page = visitors.new("operator").open(f"/console/tenants/{tenant.slug}")
    page.click("text=Create a key")
    page.fill("input[name=name]", "laptop of Ann")
    page.fill("input[name=days]", "30")
    page.click("button:has-text('Create key')")
    text = page.locator("#new-key").inner_text()
    tenant.key = text
    assert tenant.send("GET", "/v1/job") == []
    page.click("text=Done")
    assert text not in page.content()
    row = page.locator("tr", has_text="laptop of Ann")
    row.locator("select").select_option("24")
    row.locator("button:has-text('Rotate')").click()
    successor = page.locator("#new-key").inner_text()
    assert successor != text
    assert tenant.send("GET", "/v1/job") == [], "the old key works for a day"
    page.click("text=Done")
    old = page.locator("tr", has_text=text.split("_")[1][:8])
    old.locator("button:has-text('Revoke')").click()
    expect(page.locator(".notice.good")).to_contain_text("revoked")
    expect(page.locator("tr", has_text=text.split("_")[1][:8])).to_contain_text("revoked")


def test_a_page_acts_on_no_key_of_another_tenant(visitors: Visitors, gateway: Gateway) -> None:
    mine, other = gateway.tenant(), gateway.tenant()
    visitor = visitors.new("operator")
    page = visitor.open(f"/console/tenants/{mine.slug}")
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    key_id = other.key.split("_")[1]
    for act in ("rotate", "revoke"):
        path = f"/console/tenants/{mine.slug}/keys/{key_id}/{act}"
        assert page.request.post(path, form={"csrf": token}).status == 404
    assert other.send("GET", "/v1/job") == []


def test_a_credential_is_tried_before_it_is_stored(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    visitor = visitors.new("operator")
    visitor.expect(400)
    page = visitor.open(f"/console/tenants/{tenant.slug}")
    page.click("text=Store a new key")
    page.fill("input[name=apiKey]", "sim-globex")
    page.click("button:has-text('Try and store')")
    expect(page.locator(".notice.good")).to_contain_text("accepted the key")
    expect(page.locator("tr", has_text="in use")).to_contain_text("2")
    assert "sim-globex" not in page.content()
    page.click("text=Store a new key")
    page.fill("input[name=apiKey]", "no-such-key")
    page.click("button:has-text('Try and store')")
    expect(page.get_by_role("alert")).to_contain_text("apiKey")


def test_the_export_is_a_file_with_everything(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    job_id = tenant.job("in the export")
    page = visitors.new("viewer").open(f"/console/tenants/{tenant.slug}")
    with page.expect_download() as download:
        page.click("text=Export")
    assert re.fullmatch(
        rf"tenant-{tenant.slug}-\d{{4}}-\d\d-\d\d.ndjson", download.value.suggested_filename
    )
    lines = download.value.path().read_text().splitlines()
    kinds = [json.loads(line) for line in lines]
    assert job_id in {one.get("id") for one in kinds if one["kind"] == "job"}


def test_erasing_needs_the_slug(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.job()
    visitor = visitors.new("operator")
    visitor.expect(400)
    page = visitor.open(f"/console/tenants/{tenant.slug}")
    page.click("summary:has-text('Erase the tenant')")
    page.fill("input[name=confirm]", "something else")
    page.click("button:has-text('for good')")
    expect(page.get_by_role("alert")).to_contain_text("confirm")
    visitor.open(f"/console/tenants/{tenant.slug}")
    page.click("summary:has-text('Erase the tenant')")
    page.fill("input[name=confirm]", tenant.slug)
    page.click("button:has-text('for good')")
    expect(page.locator(".notice.good")).to_contain_text("erased")
    visitor.expect(404)
    visitor.open(f"/console/tenants/{tenant.slug}")
    expect(page.get_by_role("alert")).to_contain_text("no tenant")


@pytest.mark.parametrize("role", ["viewer", "support"])
def test_only_operators_change_tenants(role: str, visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    page = visitors.new(role).open(f"/console/tenants/{tenant.slug}")
    # Support makes links into the portal, and nothing else.
    links = 2 if role == "support" else 0
    expect(page.locator("main form")).to_have_count(links)
    expect(page.locator("main form[action$='/portal-link']")).to_have_count(links)
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    key_id = tenant.key.split("_")[1]
    for act in (
        *("limits", "suspend", "resume", "credential", "erase", "keys", "portal"),
        *(f"keys/{key_id}/rotate", f"keys/{key_id}/revoke"),
    ):
        form: dict[str, str | float | bool] = {
            "csrf": token,
            "name": "x",
            "apiKey": "sim-acme",
            "confirm": tenant.slug,
        }
        sent = page.request.post(f"/console/tenants/{tenant.slug}/{act}", form=form)
        assert sent.status == 403, act
    assert tenant.send("GET", "/v1/job") == []


def test_hostile_names_of_tenants_break_nothing(visitors: Visitors, gateway: Gateway) -> None:
    for name in HOSTILE:
        tenant = gateway.tenant(name=name[:200], metadata={"note": name})
        gateway.admin("PATCH", f"/tenant/{tenant.slug}", {"metadata": {"note": f"{name} again"}})
        gateway.admin("POST", f"/tenant/{tenant.slug}/key", {"name": name[:200]})
        gateway.admin("POST", f"/tenant/{tenant.slug}/suspend", {"reason": name[:500]})
        page = visitors.new("operator").open(f"/console/tenants/{tenant.slug}")
        assert _fits(page), name
        assert page.locator("main script, main img").count() == 0
    page = visitors.new("operator").open("/console/tenants")
    assert _fits(page)
