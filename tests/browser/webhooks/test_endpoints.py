"""Endpoints in the console: a receiver was down, and somebody sends what it missed."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.receiver import Receiver, receiver
from tests.browser.visitor import Gateway, Visitors
from tests.browser.webhooks.test_deliveries import delivery, endpoint, eventually


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_an_endpoint_is_recovered_after_an_outage(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    to = endpoint(tenant, f"{hooks.url}/500/outage", events=["job.failed"])
    for _ in range(2):
        tenant.job("missed", error="BAD_INPUT")
    path = f"/v1/delivery?endpoint={to}&status=exhausted"
    eventually(lambda: len(tenant.send("GET", path)) == 2)
    page = visitors.new("support").open(f"/console/endpoints?tenant={tenant.slug}&health=failing")
    page.click("tr[data-row] a >> text=outage")
    expect(page.locator(".verdict")).to_contain_text("Failing since")
    expect(page.locator(".strip rect.bad")).to_have_count(2)
    page.click("#send ~ form >> nth=0 >> text=Count them")
    expect(page.locator("main")).to_contain_text("2 webhooks")
    hooks.status = 200
    try:
        page.click("button:has-text('Send 2 webhooks')")
        expect(page.locator("#progress")).to_contain_text("done", timeout=30_000)
        delivered = path.replace("exhausted", "delivered")
        eventually(lambda: len(tenant.send("GET", delivered)) == 2)
    finally:
        hooks.status = None
    page.goto(f"/console/endpoints/{to}")
    expect(page.locator(".verdict")).to_contain_text("It is well.")
    expect(page.locator(".strip rect.good")).to_have_count(2)


def test_a_test_event_leads_to_what_happened(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    to = endpoint(tenant, f"{hooks.url}/404/tested")
    visitor = visitors.new("support", java_script_enabled=False)
    page = visitor.open(f"/console/endpoints/{to}")
    page.select_option("select[name=type]", "job.failed")
    page.click("button:has-text('Test')")
    assert page.url.endswith(f"/console/deliveries/{delivery(tenant, 'exhausted')}")
    expect(page.locator("main")).to_contain_text("This is a test")
    expect(page.locator("main")).to_contain_text("HTTP 404")


def test_an_operator_edits_rotates_and_disables(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    to = endpoint(tenant, f"{hooks.url}/200/edited")
    page = visitors.new("operator").open(f"/console/endpoints/{to}")
    page.get_by_role("link", name="Edit", exact=True).click()
    page.fill("input[name=rateLimit]", "9")
    page.check("input[name='event.job.failed']")
    page.click("text=Store")
    expect(page.get_by_role("status").first).to_contain_text("stored")
    expect(page.locator("main .facts")).to_contain_text("9 a second")
    page.click("text=Rotate the secret")
    expect(page.locator("#secret")).to_contain_text("whsec_")
    page.click("text=Back to the endpoint >> nth=-1")
    page.click("summary:has-text('Disable')")
    page.fill("input[name=reason]", "it moves")
    page.click("text=Disable this endpoint")
    expect(page.locator(".verdict")).to_contain_text("it moves")
    page.click("button:has-text('Enable')")
    expect(page.locator(".verdict")).to_contain_text("It is well.")


def test_a_receiver_is_checked_and_the_page_says_what_to_do(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    to = endpoint(tenant, f"{hooks.url}/503/checked")
    page = visitors.new("support", java_script_enabled=False).open(f"/console/endpoints/{to}")
    page.click("button:has-text('Check receiver')")
    expect(page.locator(".verdict")).to_contain_text("Webhooks do not arrive.")
    expect(page.locator("tr:has-text('TCP connection') .pill")).to_have_text("ok")
    request = page.locator("tr:has-text('Test event')")
    expect(request.locator(".pill")).to_have_text("fail")
    expect(request).to_contain_text("HTTP 503")
    hooks.status = 200
    try:
        page.click("button:has-text('Check again')")
    finally:
        hooks.status = None
    expect(page.locator(".verdict")).to_contain_text("The receiver works")
    page.click("text=The test event with the whole answer")
    expect(page.locator("main")).to_contain_text("This is a test")
