"""The portal in a real browser: by a link in a frame of another site, within its tenant, in its look."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import expect
from typing_extensions import override

from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway


class Site:
    """A page of another site, which shows an address in a frame."""

    def __init__(self) -> None:
        site = self
        self.shown = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                page = (
                    f'<!doctype html><iframe src="{site.shown}" width="1200" height="700"></iframe>'
                )
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(page.encode())

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Another host name than the gateway's, so that it is another site.
        self.origin = f"http://localhost:{self.server.server_port}"
        self._thread = Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> "Site":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as made:
        yield made


def link_of(tenant: TenantOfGateway, **given: Any) -> str:
    """A new link into the portal of a tenant."""
    found = tenant.send("POST", "/v1/portal-link", given)["url"]
    return found if found.startswith("http") else f"{tenant.gateway.api}{found}"


def test_a_portal_in_a_frame_of_another_site_keeps_its_session(
    visitors: Visitors, gateway: Gateway, site: Site
) -> None:
    tenant = gateway.tenant()
    tenant.job("broken song", error="BAD_INPUT")
    look = {"frameAncestors": [site.origin], "accent": "#8a2be2"}
    gateway.admin("PUT", f"/tenant/{tenant.slug}/portal", look)
    site.shown = link_of(tenant, returnUrl="http://localhost/back")
    visitor = visitors.new()
    visitor.allow(site.origin)
    page = visitor.page
    page.goto(site.origin)
    frame = page.frame_locator("iframe")
    expect(frame.locator("h1")).to_contain_text(tenant.slug.title())
    expect(frame.locator(".verdict")).to_contain_text("Jobs failed")
    colour = frame.locator("html").evaluate(
        "root => getComputedStyle(root).getPropertyValue('--accent')"
    )
    assert "#8a2be2" in colour

    frame.locator("nav >> text=Jobs").click()
    frame.locator("text=broken song").click()
    frame.locator("button:has-text('Retry')").click()
    expect(frame.locator(".timeline")).to_contain_text("as a retry of an earlier one")

    visitor.expect(401)
    page.goto(site.origin)  # the same link again
    expect(frame.locator("[role=alert]")).to_contain_text("The link was used already")


def test_a_portal_shows_in_no_frame_that_was_not_allowed(
    visitors: Visitors, gateway: Gateway, site: Site
) -> None:
    tenant = gateway.tenant()
    site.shown = link_of(tenant)
    visitor = visitors.new()
    visitor.allow(site.origin)
    visitor.expect_console("frame-ancestors")
    page = visitor.page
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(site.origin)
    shown = [frame for frame in page.frames if frame.url.startswith(gateway.api)]
    assert [frame.locator("h1").count() for frame in shown] in ([], [0])


def test_a_link_opened_by_itself_works_once(visitors: Visitors, gateway: Gateway) -> None:
    tenant = gateway.tenant()
    link = link_of(tenant)
    visitor = visitors.new()
    page = visitor.open(link)
    page.wait_for_url("**/portal")
    expect(page.locator("h1")).to_contain_text(tenant.slug.title())
    visitor.expect(401)
    page.click("#account")
    page.click("text=Close the portal")
    expect(page.get_by_role("status")).to_contain_text("Your session has ended")

    other = visitors.new()
    other.expect(401)
    seen = other.open(link)
    expect(seen.get_by_role("alert")).to_contain_text("The link was used already")


def test_no_url_leads_out_of_the_tenant(visitors: Visitors, gateway: Gateway) -> None:
    tenant, rival = gateway.tenant(), gateway.tenant()
    job = rival.job("of the rival")
    visitor = visitors.new()
    page = visitor.open(link_of(tenant))
    page.wait_for_url("**/portal")
    visitor.expect(404, 403)
    for path in (f"jobs/{job}", f"tenants/{rival.slug}", "system", "activity"):
        visitor.open(f"/portal/{path}")
        assert "of the rival" not in page.content()
        assert page.locator("h1").inner_text() == "Not found"
    visitor.open("/console")
    expect(page).to_have_title("Sign in · job gateway")


def test_an_endpoint_is_made_tested_and_its_failure_read(
    visitors: Visitors, gateway: Gateway
) -> None:
    tenant = gateway.tenant()
    page = visitors.new().open(link_of(tenant, pages=["endpoints", "deliveries"]))
    page.wait_for_url("**/portal/deliveries")
    page.click("nav >> text=Endpoints")
    page.click("text=New endpoint")
    page.fill("input[name=url]", "http://127.0.0.1:1/hook")
    page.click("text=Make the endpoint")
    expect(page.locator("#secret")).to_contain_text("whsec_")
    page.click("text=Back to the endpoint")
    page.click("button:has-text('Test')")
    page.wait_for_url("**/portal/deliveries/*")
    expect(page.locator("#content")).to_contain_text("127.0.0.1:1/hook")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_of_a_portal_can_be_used_by_everybody(
    visitors: Visitors, gateway: Gateway, scheme: str, width: int
) -> None:
    tenant = gateway.tenant()
    job = tenant.job("<b>bold</b>" + "w" * 300, error="BAD_INPUT")
    given = {"url": "http://127.0.0.1:1/hook", "schedule": []}
    endpoint = tenant.send("POST", "/v1/endpoint", given)["id"]
    options = {"color_scheme": scheme, "bypass_csp": True}
    visitor = visitors.new(viewport={"width": width, "height": 800}, **options)
    page = visitor.open(link_of(tenant, theme={"accent": "#0a7a3f"}))
    page.wait_for_url("**/portal")
    paths = ("", f"/jobs/{job}", "/jobs", "/deliveries", "/endpoints", f"/endpoints/{endpoint}")
    for path in (*paths, "/endpoints/new", "/dead-letters", "/bulk", "/usage", "/search?q=x"):
        visitor.open(f"/portal{path}")
        assert visitor.violations() == [], path
        too_wide = page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
        assert not too_wide, path
