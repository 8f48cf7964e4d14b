"""Makes the pictures of the README: `make screenshots`. Not part of the tests."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

pytestmark = pytest.mark.timeout(900)

_IMAGES = Path(__file__).parents[2] / "docs/images"
_SONGS = (
    "Harbour lights",
    "Paper boats",
    "North window",
    "Slow train",
    "Copper rain",
    "Glass hour",
)
_ERRORS = ("", "", "", "", "BAD_INPUT", "", "", "TIMEOUT")
_NOBODY = "http://127.0.0.1:9/hooks"
_HEARTBEATS_SECONDS = 12


@pytest.fixture
def visitors(browser: Browser, gateway: Gateway) -> Iterator[Visitors]:
    """Visitors whose problems do not matter: the pictures are looked at."""
    made = Visitors(browser, gateway)
    yield made
    made.close()


def _filled(gateway: Gateway) -> tuple[TenantOfGateway, str]:
    """Three tenants with jobs; the busiest one, and its failed job with a webhook that does not arrive."""
    chance = random.Random(7)
    busy, *others = [gateway.tenant(name=name) for name in ("Acme Audio", "Globex", "Initech")]
    busy.send("POST", "/v1/endpoint", {"url": _NOBODY, "events": ["job.failed"]})
    failed = ""
    for tenant, jobs in ((busy, 24), (others[0], 10), (others[1], 6)):
        for _ in range(jobs):
            error = chance.choice(_ERRORS)
            job_id = tenant.job(chance.choice(_SONGS), error=error)
            failed = job_id if error == "BAD_INPUT" and tenant is busy else failed
    return busy, failed


def test_pictures(gateway: Gateway, visitors: Visitors) -> None:
    tenant, failed = _filled(gateway)
    time.sleep(_HEARTBEATS_SECONDS)
    _IMAGES.mkdir(exist_ok=True)
    size = {"width": 1280, "height": 800}
    visitor = visitors.new("operator", viewport=size, device_scale_factor=1.5)
    for name, path in (
        ("now", "/console"),
        ("job", f"/console/jobs/{failed}"),
        ("tenant", f"/console/tenants/{tenant.slug}"),
    ):
        visitor.open(path).screenshot(path=_IMAGES / f"console-{name}.png")
    link = gateway.send("POST", "/v1/portal-link", tenant.key, {"theme": {"accent": "#0a7a3f"}})[
        "url"
    ]
    guest = visitors.new(viewport=size, device_scale_factor=1.5)
    page = guest.open(link if link.startswith("http") else f"{gateway.api}{link}")
    page.wait_for_url("**/portal")
    page.screenshot(path=_IMAGES / "portal.png")
