"""Deliveries in the console: somebody finds a failed webhook, reads why, and sends it again."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.receiver import HOSTILE, Receiver, receiver
from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

_SECONDS = 60


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def eventually(find: Callable[[], Any]) -> Any:
    """What `find` returns once that is something."""
    end = time.monotonic() + _SECONDS
    while not (found := find()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)
    return found


def endpoint(tenant: TenantOfGateway, url: str, **fields: Any) -> str:
    """The id of a new endpoint that gives up after one attempt."""
    made = tenant.send("POST", "/v1/endpoint", {"url": url, "schedule": [], **fields})
    return made["id"]


def delivery(tenant: TenantOfGateway, state: str, more: str = "") -> str:
    """The id of the only delivery in a state."""
    path = f"/v1/delivery?status={state}{more}"
    return eventually(lambda: tenant.send("GET", path))[0]["id"]


def test_somebody_finds_a_dead_letter_reads_why_and_resends_it(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    endpoint(tenant, f"{hooks.url}/503/songs", events=["job.failed"])
    endpoint(tenant, f"{hooks.url}/200/fine", events=["job.failed"])
    tenant.job("broken", error="BAD_INPUT")
    dead = delivery(tenant, "exhausted")
    page = visitors.new("support").open(f"/console/deliveries?tenant={tenant.slug}")
    expect(page.locator("tr[data-row]")).to_have_count(2)
    page.fill("input[name=httpStatus]", "503")
    page.click("button:has-text('Filter')")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.click("tr[data-row] >> text=job.failed")
    assert page.url.endswith(f"/console/deliveries/{dead}")
    expect(page.locator(".verdict")).to_contain_text("the receiver broke")
    expect(page.locator(".headers").first).to_contain_text("webhook-signature")
    expect(page.locator(".phases-legend")).to_contain_text("first byte")
    assert page.locator("main script").count() == 0
    assert HOSTILE not in page.content()
    page = resent(page, tenant, hooks)
    page.click("tr[data-row] >> nth=0 >> a")
    expect(page.locator("#of-attempt")).to_contain_text("Attempt 1")
    notes = gateway.admin("GET", f"/audit?tenant={tenant.slug}&action=delivery.resent")
    assert [one["subject"] for one in notes] == [dead]


def resent(page: Page, tenant: TenantOfGateway, hooks: Receiver) -> Page:
    """The page of a delivery that was resent and arrived."""
    hooks.status = 200
    try:
        page.click("button:has-text('Resend')")
        expect(page.get_by_role("status").first).to_contain_text("sent again")
        delivery(tenant, "delivered", "&resentAfter=2001-01-01")
    finally:
        hooks.status = None
    page.reload()
    expect(page.locator(".verdict")).to_contain_text("Delivered")
    expect(page.locator("tr[data-row]")).to_have_count(2)
    return page


def test_each_filter_is_in_the_url_and_a_wrong_one_is_named(
    visitors: Visitors, gateway: Gateway
) -> None:
    visitor = visitors.new("viewer")
    page = visitor.open("/console/deliveries?status=exhausted&outcome=http_5xx&span=week")
    expect(page.locator(".presets [aria-current]")).to_have_text(["7 days", "dead letter"])
    expect(page.locator("select[name=outcome]")).to_have_value("http_5xx")
    visitor.expect(400)
    for query, field in (("httpStatus=200", "httpStatus"), ("status=lost", "status"), ("x=1", "x")):
        page = visitor.open(f"/console/deliveries?{query}")
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.locator("main")).to_contain_text(field)


def test_pages_lead_through_all_deliveries_without_scripts(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    to = endpoint(tenant, f"{hooks.url}/200/pages")
    for _ in range(51):
        tenant.send("POST", f"/v1/endpoint/{to}/test", {})
    page = visitors.new("viewer", java_script_enabled=False).open(
        f"/console/deliveries?endpoint={to}"
    )
    expect(page.locator("tr[data-row]")).to_have_count(50)
    page.click(".pages >> text=Older")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    page.click(".pages >> text=Newest")
    expect(page.locator("tr[data-row]")).to_have_count(50)


def test_a_viewer_cannot_resend(visitors: Visitors, gateway: Gateway, hooks: Receiver) -> None:
    tenant = gateway.tenant()
    endpoint(tenant, f"{hooks.url}/404/viewer")
    tenant.job("x")
    dead = delivery(tenant, "exhausted")
    visitor = visitors.new("viewer")
    page = visitor.open(f"/console/deliveries/{dead}")
    expect(page.locator("button:has-text('Resend')")).to_have_count(0)
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    forms: tuple[dict[str, Any], ...] = ({"csrf": token}, {})
    for form in forms:
        sent = page.request.post(f"/console/deliveries/{dead}/resend", form=form, max_redirects=0)
        assert sent.status == 403
    support = visitors.new("support").open(f"/console/deliveries/{dead}")
    sent = support.request.post(f"/console/deliveries/{dead}/resend", form={}, max_redirects=0)
    assert sent.status == 403, "a write without the CSRF token"


def test_a_delivery_that_does_not_exist_is_told(visitors: Visitors) -> None:
    visitor = visitors.new("viewer")
    visitor.expect(404)
    page = visitor.open("/console/deliveries/01a22dd7-b20a-77a7-be21-65293828e74d")
    expect(page.get_by_role("alert")).to_contain_text("There is no such delivery.")


def test_a_signature_is_checked_against_what_was_sent(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    given = {"url": f"{hooks.url}/200/signed", "schedule": []}
    made = tenant.send("POST", "/v1/endpoint", given)
    tested = tenant.send("POST", f"/v1/endpoint/{made['id']}/test", {})
    page = visitors.new("support").open(f"/console/deliveries/{tested['deliveryId']}")
    page.click("text=Check a signature")
    page.fill("input[name=secret]", made["secret"])
    page.click("main button:has-text('Check')")
    findings = page.locator(".findings")
    expect(findings).to_contain_text("The signature is right")
    expect(page.locator("input[name=secret]")).to_have_value("")
    page.fill("textarea[name=body]", page.locator("textarea[name=body]").input_value() + "\n")
    page.fill("input[name=secret]", made["secret"])
    page.click("main button:has-text('Check')")
    expect(findings).to_contain_text("The body was changed")
    expect(findings).to_contain_text("The secret is the right one.")
    assert made["secret"] not in page.content()
