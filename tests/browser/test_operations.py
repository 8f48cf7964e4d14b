"""Usage, activity, account, queues and system in a real browser."""

import csv
import io
import re

from playwright.sync_api import expect

from tests.browser.visitor import Gateway, Visitors

_GONE = "/console/account/sessions/00000000-0000-7000-8000-000000000000/end"


def test_usage_of_one_tenant_is_a_chart_a_table_and_a_file(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    tenant.job("good")
    tenant.job("bad", error="BAD_INPUT")
    page = visitors.new("viewer", java_script_enabled=False).open("/console/usage")
    page.fill("input[name=tenant]", tenant.slug)
    page.click("button:has-text('Show')")
    tiles = page.locator(".tiles")
    expect(tiles.locator(".tile", has_text="jobs ended")).to_contain_text("2")
    expect(tiles.locator(".tile", has_text="failed")).to_contain_text("50.0 %")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.locator(".chart svg g").count() >= 1
    good, bad = (
        float(page.locator(f".chart rect.{look}").last.get_attribute("height") or 0)
        for look in ("good", "bad")
    )
    assert good == bad > 0
    expect(page.locator("main .facts")).to_contain_text("BAD_INPUT")
    with page.expect_download() as download:
        page.click("text=CSV by workflow")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert [(row["workflow"], row["status"], row["jobs"]) for row in rows] == [
        ("music-ai/generate-chords", "FAILED", "1"),
        ("music-ai/generate-chords", "SUCCEEDED", "1"),
    ]
    page.select_option("select[name=status]", "FAILED")
    page.click("button:has-text('Show')")
    expect(tiles.locator(".tile", has_text="jobs ended")).to_contain_text("1")


def test_usage_of_a_month_without_jobs_says_so(visitors: Visitors, gateway: Gateway) -> None:
    visitor = visitors.new("viewer")
    page = visitor.open("/console/usage?month=2020-02")
    expect(page.locator(".empty")).to_contain_text("Nothing ended in this month")
    expect(page.locator("select[name=month]")).to_have_value("2020-02")
    page = visitor.open("/console/usage?tenant=nobody")
    expect(page.locator(".empty")).to_be_visible()
    visitor.expect(400)
    for wrong in ("2020-13", "x", "9999-12"):
        page = visitor.open(f"/console/usage?month={wrong}")
        expect(page.get_by_role("alert")).to_be_visible()


def test_activity_tells_who_changed_what_from_what_to_what(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant(limits={"maxQueued": 50})
    for limit in range(51, 111):
        gateway.admin("PATCH", f"/tenant/{tenant.slug}", {"limits": {"maxQueued": limit}})
    page = visitors.new("viewer", java_script_enabled=False).open("/console/activity")
    page.fill("input[name=tenant]", tenant.slug)
    page.select_option("select[name=action]", "tenant.changed")
    page.click("button:has-text('Filter')")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(50)
    expect(rows.first).to_contain_text("limits.maxQueued 109 to 110")
    page.click(".pages >> text=Older")
    expect(rows).to_have_count(10)
    expect(rows.last).to_contain_text("limits.maxQueued 50 to 51")
    page.click(".pages >> text=Newest")
    expect(rows).to_have_count(50)
    page.click(".presets >> text=last hour")
    expect(rows).to_have_count(50)
    page.goto(f"/console/activity?tenant={tenant.slug}&actor=nobody")
    expect(page.locator(".empty")).to_contain_text("Nothing matches")


def test_an_operator_ends_the_session_of_somebody_else(
    visitors: Visitors, gateway: Gateway
) -> None:
    gateway.admin("POST", "/key", {"kind": "operator", "name": "Ann", "scopes": ["admin:read"]})
    made = gateway.admin("POST", "/key", {"kind": "operator", "name": "Bob", "scopes": ["support"]})
    other = visitors.new().open("/console/sign-in")
    other.fill("input[name=key]", made["accessKey"])
    other.click("button:has-text('Sign in')")
    other.wait_for_url("**/console")
    page = visitors.new("operator").open("/console/account")
    expect(page.locator("tr", has_text="(this one)")).to_have_count(1)
    page.locator("tr", has_text="Bob").locator("button").click()
    expect(page.locator(".notice.good")).to_contain_text("ended")
    expect(page.locator("tr", has_text="Bob")).to_have_count(0)
    other.goto("/console/account")
    expect(other).to_have_title(re.compile("Sign in"))
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    gone = page.request.post(_GONE, form={"csrf": token})
    assert "had ended already" in gone.text()


def test_others_end_only_their_own_session(visitors: Visitors, gateway: Gateway) -> None:
    operator = visitors.new("operator")
    page = visitors.new("support").open("/console/account")
    own = page.locator("button:has-text('End session')")
    expect(own).to_have_count(1)
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    assert page.request.post(_GONE, form={"csrf": token}).status == 403
    own.click()
    expect(page).to_have_title(re.compile("Sign in"))
    page.goto("/console")
    expect(page).to_have_title(re.compile("Sign in"))
    expect(operator.open("/console/account").locator("h1")).to_have_text("Account")


def test_queues_tell_what_waits_and_who_acts(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant(limits={"maxInFlight": 1})
    for name in ("in flight", "held", "held too"):
        tenant.waiting(name)
    visitor = visitors.new("viewer", java_script_enabled=False)
    page = visitor.open("/console/queues")
    for _ in range(20):
        if page.locator("td", has_text="as many jobs in flight as it may").count():
            break
        page.wait_for_timeout(500)
        page.reload()
    row = page.locator("tr", has_text="as many jobs in flight as it may")
    expect(row).to_be_visible()
    expect(page.locator("tr", has_text="worker").first).to_contain_text("alive")
    expect(page.locator("#queues")).to_contain_text("Credentials that hold jobs back")


def test_system_shows_the_settings_to_operators_and_no_secret(
    visitors: Visitors, gateway: Gateway
) -> None:
    page = visitors.new("operator", java_script_enabled=False).open("/console/system")
    key = page.locator("tr", has_text="GATEWAY_MASTER_KEY")
    expect(key).to_contain_text("[hidden]")
    expect(key).to_contain_text("environment")
    expect(page.locator("tr", has_text="GATEWAY_REDIS_URL")).to_contain_text("redis://")
    expect(page.locator("tr td:first-child", has_text=re.compile("^job$"))).to_be_visible()
    expect(page.locator("dl", has_text="Schema")).to_contain_text("as this version needs it")
    expect(page.locator("dl", has_text="Next run")).to_be_visible()
    page = visitors.new("support").open("/console/system")
    expect(page.locator("main")).to_contain_text("shown to operators")
    expect(page.locator("tr", has_text="GATEWAY_")).to_have_count(0)
