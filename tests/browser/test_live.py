"""What scripts add: pages renew themselves, keys, the theme, filters without a reload, links that sign in."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Gateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway


def test_a_running_job_shows_its_end_without_a_reload(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    job_id = tenant.waiting("live", {"queueSeconds": 0, "runSeconds": 15})
    page = visitors.new("viewer").open(f"/console/jobs/{job_id}")
    # The page renews itself every five seconds.
    expect(page.locator(".title .pill")).to_have_text("running", timeout=12_000)
    expect(page.locator(".title .pill")).to_have_text("succeeded", timeout=30_000)
    expect(page.locator(".verdict")).to_contain_text("It succeeded in")


def test_new_jobs_wait_until_somebody_asks_for_them(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.waiting("first")
    page = visitors.new("viewer").open(f"/console/jobs?tenant={tenant.slug}")
    rows = page.locator("tr[data-row]")
    expect(rows).to_have_count(1)
    tenant.waiting("second")
    tenant.waiting("third")
    shown = page.locator("#new a")
    expect(shown).to_have_text("2 new jobs: show", timeout=30_000)
    expect(rows).to_have_count(1)
    shown.click()
    expect(rows).to_have_count(3)


def test_filters_change_the_address_and_back_goes_back(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    tenant.job("bad", error="TIMEOUT")
    tenant.job("good")
    page = visitors.new("viewer").open(f"/console/jobs?tenant={tenant.slug}")
    page.click(".presets >> text=failed")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    assert page.url.endswith(f"/console/jobs?tenant={tenant.slug}&status=FAILED")
    page.reload()
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.go_back()
    expect(page.locator("tr[data-row]")).to_have_count(2)


def test_a_wrong_filter_says_what_is_wrong(visitors: Visitors) -> None:
    visitor = visitors.new("viewer")
    visitor.expect(400)
    page = visitor.open("/console/jobs")
    page.fill("input[name=label]", "no equals sign")
    page.press("input[name=label]", "Enter")
    expect(page.get_by_role("alert")).to_contain_text("label: must be key=value")


def test_keys(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    ids = [tenant.waiting(name) for name in ("one", "two")]
    page = visitors.new("viewer").open("/console")
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/console/jobs")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(tenant.slug)
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/tenants/{tenant.slug}")
    page.goto(f"/console/jobs?tenant={tenant.slug}")
    expect(page.locator("tr[data-row]")).to_have_count(2)
    for key in "jjk":
        page.keyboard.press(key)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/console/jobs/{ids[0]}")


def test_the_theme_is_kept(visitors: Visitors) -> None:
    page = visitors.new("viewer", color_scheme="light").open("/console")
    before = page.evaluate("() => getComputedStyle(document.body).color")
    page.click("#account")
    page.click("text=Theme: dark")
    assert page.evaluate("() => getComputedStyle(document.body).color") != before
    page.goto("/console/jobs")
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_times_are_shown_in_utc_or_by_the_browsers_clock(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    job = tenant.job()
    page = visitors.new("viewer", timezone_id="Asia/Kolkata").open(f"/console/jobs/{job}")
    clock = page.locator(".timeline time").first
    utc = clock.inner_text()
    assert (clock.get_attribute("datetime") or "")[11:23] == utc
    pill = page.locator(".title .pill")
    expect(pill).to_have_attribute("title", re.compile(r"UTC$"))
    page.click("#account")
    page.click("text=Times: local")
    expect(pill).to_have_attribute("title", re.compile(r"\+05:30$"))
    there = clock.inner_text()
    minutes = [int(one[:2]) * 60 + int(one[3:5]) for one in (utc, there)]
    assert (minutes[1] - minutes[0]) % 1440 == 330
    expect(clock).to_have_attribute("title", re.compile(r"\+05:30\n.*UTC$"))
    page.goto("/console/jobs")
    expect(page.locator("tr[data-row] time").first).to_contain_text(re.compile("ago|now"))
    page.click("#account")
    page.click("text=Times: UTC")
    expect(page.locator("tr[data-row] time").first).to_have_attribute(
        "title", re.compile(r"UTC\n.*here$")
    )


def test_a_link_signs_in_by_itself_and_once(visitors: Visitors, gateway: Gateway) -> None:
    link = gateway.console_link()
    first = visitors.new()
    first.page.goto(link)
    first.page.wait_for_url("**/console")
    second = visitors.new()
    second.expect(401)
    second.page.goto(link)
    expect(second.page.get_by_role("alert")).to_contain_text("used already")


def test_a_page_stays_while_the_gateway_is_away(visitors: Visitors) -> None:
    visitor = visitors.new("viewer")
    visitor.expect(503)
    page = visitor.open("/console")
    page.route("**/console", lambda route: route.fulfill(status=503))
    expect(page.locator("#away")).to_contain_text("has not answered since", timeout=30_000)
    expect(page.locator(".verdict")).to_be_visible()
    page.unroute("**/console")
    expect(page.locator("#away")).to_be_hidden(timeout=30_000)
