"""Event types and the feed: a person looks up a type, tries it, and watches events come."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.receiver import Receiver, receiver
from tests.browser.visitor import Gateway, Visitors
from tests.browser.webhooks.test_deliveries import endpoint

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_a_type_is_looked_up_and_tried(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    endpoint(tenant, f"{hooks.url}/200/tried", events=["job.failed"])
    page = visitors.new("support").open("/console")
    page.keyboard.press("g")
    page.keyboard.press("v")
    page.click("tr[data-row] a >> text=job.failed")
    expect(page.locator("main")).to_contain_text("job.failed: an example")
    page.fill("input[name=tenant]", tenant.slug)
    page.click("text=Show its endpoints")
    page.click("button:has-text('Send a test')")
    expect(page.locator("main")).to_contain_text("This is a test")
    assert hooks.got[-1][0]["webhook-signature"].startswith("v1,")


def test_the_feed_follows_and_pauses(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    tenant.job("first", error="BAD_INPUT")
    page = visitors.new("viewer").open(f"/console/feed?tenant={tenant.slug}")
    listed = page.locator("#feed tr[data-row]")
    failed = listed.filter(has_text="job.failed")
    expect(failed).to_have_count(1, timeout=30_000)
    tenant.job("second", error="BAD_INPUT")
    expect(failed).to_have_count(2, timeout=30_000)
    page.get_by_role("link", name="Pause").click()
    expect(page.locator("#feed")).to_contain_text("Paused")
    expect(page.locator("[data-live]")).to_have_count(0)
    page.get_by_role("link", name="job.failed", exact=True).first.click()
    expect(listed.filter(has_text="job.started")).to_have_count(0)
    listed.first.locator("a[data-open]").click()
    expect(page.locator(".json")).to_contain_text("second")


def test_the_keys_dialog_names_the_new_screens(visitors: Visitors) -> None:
    page = visitors.new("viewer").open("/console/feed")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_contain_text("Feed")
    expect(page.locator("#keys")).to_contain_text("Event types")
