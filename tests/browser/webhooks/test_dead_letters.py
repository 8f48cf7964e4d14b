"""Dead letters in the console: one reason, many webhooks, one act."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.receiver import Receiver, receiver
from tests.browser.visitor import Gateway, Visitors
from tests.browser.webhooks.test_deliveries import endpoint, eventually


@pytest.fixture(scope="module")
def hooks() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def test_a_group_of_dead_letters_is_resent_without_scripts(
    visitors: Visitors, gateway: Gateway, hooks: Receiver
) -> None:
    tenant = gateway.tenant()
    endpoint(tenant, f"{hooks.url}/422/strict", events=["job.failed"])
    for _ in range(3):
        tenant.job("<b>strict</b>", error="BAD_INPUT")
    path = "/v1/delivery?httpStatus=422&status="
    eventually(lambda: len(tenant.send("GET", f"{path}exhausted")) == 3)
    visitor = visitors.new("support", java_script_enabled=False)
    page = visitor.open(f"/console/dead-letters?tenant={tenant.slug}")
    expect(page.locator("tr[data-row]")).to_have_count(1)
    expect(page.locator("tr[data-row]")).to_contain_text("422")
    page.click("tr[data-row] >> text=Count")
    hooks.status = 200
    try:
        page.click("button:has-text('Resend 3 dead letters')")
        expect(page.locator("#progress")).to_contain_text("of 3")
        done = "/v1/delivery?status=delivered"
        eventually(lambda: len(tenant.send("GET", done)) == 3)
    finally:
        hooks.status = None
    page.goto(f"/console/dead-letters?tenant={tenant.slug}")
    expect(page.locator(".empty")).to_contain_text("No dead letters")
