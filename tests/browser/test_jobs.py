"""The list of jobs: acts on many of them, columns, counts and saved views."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway

ROWS = "tr[data-row]"


def full(gateway: Gateway, tenant: TenantOfGateway) -> None:
    """Fill the queue of a tenant, so that a retry has to wait for room."""
    limits = {"limits": {"maxInFlight": 1, "maxQueued": 1}}
    gateway.admin("PATCH", f"/tenant/{tenant.slug}", limits)
    first = tenant.waiting("at the upstream")
    state = ""
    while state != "submitted":
        state = tenant.send("GET", f"/v1/job/{first}?wait=5")["gateway"]["state"]
    tenant.waiting("in the queue")


def begin(page: Page, label: str, button: str) -> None:
    """Ask for an act, and confirm what is counted."""
    page.click(f".row-acts >> text={label}")
    page.click(f"button:has-text('{button}')")
    page.wait_for_url("**/console/bulk/*")


def test_all_that_match_are_retried_others_see_it_and_it_is_stopped(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    for n in range(3):
        tenant.job(f"song {n}", error="BAD_INPUT")
    full(gateway, tenant)
    page = visitors.new("support").open(f"/console/jobs?tenant={tenant.slug}")
    page.click(".presets >> text=failed")
    expect(page.locator(ROWS)).to_have_count(3)
    page.click(".row-acts >> text=Retry all")
    expect(page.locator(".panel")).to_contain_text("Creates 3 new jobs")
    page.click("button:has-text('Retry 3 jobs')")
    page.wait_for_url("**/console/bulk/*")
    other = visitors.new("viewer").open(f"/console/jobs?tenant={tenant.slug}")
    running = other.locator(".notice", has_text=tenant.slug)
    expect(running).to_contain_text("Retry jobs is running")
    page.click("button:has-text('Stop')")
    expect(page.locator("#progress .pill")).to_have_text("stopped")
    expect(running).to_have_count(0, timeout=30_000)  # the list renews it by itself
    assert [one["state"] for one in tenant.send("GET", "/v1/bulk")] == ["stopped"]


def test_two_ticked_rows_are_retried_without_scripts(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    for name in ("<b>one</b>", "two", "three"):
        tenant.job(name, error="TIMEOUT")
    visitor = visitors.new("support", java_script_enabled=False)
    page = visitor.open(f"/console/jobs?tenant={tenant.slug}")
    for name in ("<b>one</b>", "three"):
        page.locator(ROWS, has_text=name).locator("input[name=id]").check()
    page.click(".row-acts >> button:has-text('Retry')")
    expect(page.locator(".panel")).to_contain_text("2 of the 2 that you ticked")
    page.click("button:has-text('Retry 2 jobs')")
    expect(page.locator("#progress")).to_contain_text("of 2")
    page.goto(f"/console/jobs?tenant={tenant.slug}")
    page.click("text=Count them by status and error code")
    expect(page.get_by_role("link", name=re.compile("^TIMEOUT"))).to_be_visible()
    page.click("a:has-text('failed')")
    page.click(".row-acts >> text=Retry all")
    page.click("text=Back without a change")
    expect(page.locator("h1")).to_have_text("Jobs")


def test_to_cancel_many_shows_the_consequence(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    for n in range(2):
        tenant.waiting(f"song {n}")
    page = visitors.new("support").open(f"/console/jobs?tenant={tenant.slug}")
    begin(page, "Cancel all", "Cancel 2 jobs")
    expect(page.locator("#progress .pill")).to_have_text("done", timeout=30_000)
    page.goto(f"/console/jobs?tenant={tenant.slug}")
    expect(page.locator(".empty")).to_contain_text("No job matches")


def test_counts_columns_and_a_saved_view(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.job("song", error="BAD_INPUT", metadata={"customer": "c-7"})
    tenant.job("good")
    page = visitors.new("operator").open(f"/console/jobs?tenant={tenant.slug}")
    counts = page.locator("#counts")
    expect(counts).to_contain_text("BAD_INPUT 1")
    expect(page).to_have_title("Jobs · job gateway")
    counts.locator("a", has_text="BAD_INPUT").click()
    expect(page.locator(ROWS)).to_have_count(1)
    page.click("summary:has-text('Columns')")
    page.uncheck(".drop input[value=took]")
    page.fill("input[name=addLabel]", "customer")
    page.click("text=Show these columns")
    expect(page.locator("th", has_text="customer")).to_be_visible()
    expect(page.locator("th", has_text="Took")).to_have_count(0)
    expect(page.locator(ROWS)).to_contain_text("c-7")
    page.click("summary:has-text('Save view')")
    page.fill(".drop input[name=name]", f"<i>mine</i> {tenant.slug}")
    page.check(".drop input[name=shared]")
    page.click("button:has-text('Save view')")
    chip = page.locator("nav.presets a", has_text=f"<i>mine</i> {tenant.slug}")
    expect(chip).to_have_attribute("aria-current", "true")
    other = visitors.new("viewer").open("/console/jobs")
    other.locator("nav.presets a", has_text=tenant.slug).click()
    expect(other.locator(ROWS)).to_have_count(1)
    expect(other.locator(ROWS)).to_contain_text("c-7")
    page.click("text=Manage views")
    page.click("button:has-text('Delete')")
    expect(page.locator(".notice.good")).to_have_text("The view is deleted.")


def test_a_list_is_paused_and_goes_on(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.waiting("first")
    page = visitors.new("viewer").open(f"/console/jobs?tenant={tenant.slug}")
    page.click("text=Pause")
    expect(page.locator(".tools .pill")).to_have_text("paused")
    assert page.url.endswith("&live=off")
    page.click("text=Go on")
    expect(page.locator(".tools .pill")).to_have_text("live")
    tenant.waiting("second")
    expect(page.locator("#new a")).to_have_text("1 new job: show", timeout=30_000)
