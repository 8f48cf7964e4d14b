"""The console in a real browser, before a whole gateway."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.visitor import Gateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "\"'><svg/onload=alert(3)>",
    "{{ 7*7 }} ${7*7} %{7*7}",
    "\x1b[31mred\x1b[0m \u009b2J",
    "\u202egnp.exe \u2066\u200f",
    "w" * 512,
    "\U0001f600 \U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301",
)


def test_a_shared_link_asks_to_sign_in_and_comes_back(visitors: Visitors, gateway: Gateway) -> None:
    visitor = visitors.new()
    page = visitor.open("/console/jobs?status=FAILED&tenant=acme")
    expect(page).to_have_title("Sign in · job gateway")
    page.fill("input[name=key]", gateway.operator_key)
    page.click("button:has-text('Sign in')")
    page.wait_for_url("**/console/jobs?status=FAILED&tenant=acme")


def test_a_wrong_key_is_told(visitors: Visitors) -> None:
    visitor = visitors.new()
    visitor.expect(401)
    page = visitor.open("/console/sign-in")
    page.fill("input[name=key]", "jgw_0000000000000000_nothing")
    page.click("button:has-text('Sign in')")
    expect(page.get_by_role("alert")).to_contain_text("access key")
    page.goto("/console")
    expect(page).to_have_title("Sign in · job gateway")


def test_signing_out_ends_the_session(visitors: Visitors) -> None:
    visitor = visitors.new("operator")
    page = visitor.open("/console")
    page.click("#account")
    page.click("button:has-text('Sign out')")
    expect(page).to_have_title("Sign in · job gateway")
    page.goto("/console")
    expect(page).to_have_title("Sign in · job gateway")


def test_somebody_finds_a_failed_job_reads_why_and_retries_it(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    tenant.job("broken song", error="BAD_INPUT")
    tenant.job("fine song")
    page = visitors.new("support").open(f"/console/jobs?tenant={tenant.slug}")
    page.click(".presets >> text=failed")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.click("text=broken song")
    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text("BAD_INPUT")
    expect(verdict).to_contain_text("The caller acts: check the name of the workflow")
    before = page.url
    page.click("button:has-text('Retry')")
    page.wait_for_url(lambda url: url != before)
    expect(page.locator("h1")).to_contain_text("broken song")
    expect(page.locator(".timeline")).to_contain_text("as a retry of an earlier one")


def test_a_viewer_reads_and_cannot_write(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    job_id = tenant.job(error="TIMEOUT")
    visitor = visitors.new("viewer")
    page = visitor.open(f"/console/jobs/{job_id}")
    expect(page.locator(".verdict")).to_contain_text("TIMEOUT")
    expect(page.locator("button:has-text('Retry')")).to_have_count(0)
    token = page.locator("input[name=csrf]").first.get_attribute("value")
    sent = page.request.post(
        f"/console/jobs/{job_id}/retry", form={"csrf": token or ""}, max_redirects=0
    )
    assert sent.status == 403


def test_hostile_names_break_nothing(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    ids = [tenant.waiting(name, {"queueSeconds": 0, "runSeconds": 0}) for name in HOSTILE]
    visitor = visitors.new("operator")
    page = visitor.open(f"/console/jobs?tenant={tenant.slug}")
    expect(page.locator("tr[data-row]")).to_have_count(len(HOSTILE))
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    for job_id in ids:
        page = visitor.open(f"/console/jobs/{job_id}?tab=raw")
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        assert page.locator("main script, main img").count() == 0


def test_reads_work_without_scripts(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.job("plain", error="BAD_INPUT")
    visitor = visitors.new("operator", java_script_enabled=False)
    page = visitor.open("/console")
    expect(page.locator(".verdict")).to_be_visible()
    page.click("nav >> text=Jobs")
    page.fill("input[name=tenant]", tenant.slug)
    page.click("button:has-text('Filter')")
    page.click("text=plain")
    page.click(".tabs >> text=Input")
    expect(page.locator(".json")).to_contain_text("simulate")


def test_a_job_is_copied_as_code_and_bundled(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    job = tenant.job("it's <b>bold</b>", error="BAD_INPUT")
    visitor = visitors.new("viewer", permissions=["clipboard-read", "clipboard-write"])
    page = visitor.open(f"/console/jobs/{job}")
    page.click("nav.tabs >> text=Request")
    page.click("button[aria-label='Copy Python (httpx)'] >> nth=0")
    expect(page.locator("#told")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("import os")
    assert "<b>bold</b>" in copied
    page.click("summary:has-text('Support bundle')")
    page.check("input[name=payloads]")
    with page.expect_download() as saved:
        page.click("button:has-text('Download')")
    found = json.loads(saved.value.path().read_text())
    assert saved.value.suggested_filename.startswith(f"job-{job}")
    assert found["explanation"]["whoActs"]
    assert found["job"]["workflowParams"]
