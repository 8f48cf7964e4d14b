"""What holds for every screen: it can be used by everybody, in both themes, at any width, without errors."""

from collections.abc import Mapping
from typing import Literal

import pytest

from gateway.console.screens.job_list.columns import COLUMNS
from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway
_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_WIDTHS = (360, 800, 1440)


_COLUMNS = "".join(f"&columns={key}" for key in [*COLUMNS, "label:customer"])


@pytest.fixture(scope="module")
def tenant(gateway: Gateway) -> TenantOfGateway:
    """A tenant that has something to show on each screen."""
    made = gateway.tenant()
    made.job("failed", error="BAD_INPUT")
    made.job("good")
    made.waiting("waiting")
    send_webhooks(made)
    return made


def send_webhooks(tenant: TenantOfGateway) -> None:
    """Have two endpoints that fail, each with a test delivery."""
    for port in (1, 2):
        given = {"url": f"http://127.0.0.1:{port}/hook", "schedule": []}
        made = tenant.send("POST", "/v1/endpoint", given)
        tenant.send("POST", f"/v1/endpoint/{made['id']}/test", {})


def _paths(tenant: TenantOfGateway) -> dict[str, str]:
    """One path of each screen; add yours here."""
    jobs = tenant.send("GET", "/v1/job")
    failed = next(one["id"] for one in jobs if one["name"] == "failed")
    waiting = next(one["id"] for one in jobs if one["name"] == "waiting")
    delivery = tenant.send("GET", "/v1/delivery?status=exhausted")[0]["id"]
    to = tenant.send("GET", "/v1/endpoint")[0]["id"]
    event = tenant.send("GET", "/v1/event?wait=10")[0]["id"]
    operation = tenant.send("POST", "/v1/delivery/recover", {"since": "2001-01-01"})
    return {
        "now": "/console",
        "jobs": f"/console/jobs?tenant={tenant.slug}",
        "no jobs": f"/console/jobs?tenant={tenant.slug}&name=none",
        "jobs, all columns": f"/console/jobs?tenant={tenant.slug}{_COLUMNS}&live=off",
        "jobs, counts": f"/console/jobs/counts?tenant={tenant.slug}",
        "jobs, views": "/console/jobs/views",
        "jobs, retry": f"/console/jobs/act?tenant={tenant.slug}&act=retry&id={failed}",
        "jobs, choose a tenant": "/console/jobs/act?act=cancel",
        "job": f"/console/jobs/{failed}",
        "job, raw": f"/console/jobs/{failed}?tab=raw",
        "job, request": f"/console/jobs/{failed}?tab=request",
        "waiting job": f"/console/jobs/{waiting}",
        "tenants": "/console/tenants",
        "no tenants": "/console/tenants?text=nobody-has-this",
        "tenant": f"/console/tenants/{tenant.slug}",
        "usage": f"/console/usage?tenant={tenant.slug}",
        "no usage": "/console/usage?month=2020-02",
        "activity": f"/console/activity?tenant={tenant.slug}",
        "no activity": f"/console/activity?tenant={tenant.slug}&actor=nobody",
        "account": "/console/account",
        "queues": "/console/queues",
        "system": "/console/system",
        "deliveries": f"/console/deliveries?tenant={tenant.slug}",
        "no deliveries": f"/console/deliveries?tenant={tenant.slug}&status=parked",
        "delivery": f"/console/deliveries/{delivery}",
        "signature": f"/console/signature?delivery={delivery}",
        "endpoints": f"/console/endpoints?tenant={tenant.slug}",
        "no endpoints": f"/console/endpoints?tenant={tenant.slug}&url=none",
        "endpoint": f"/console/endpoints/{to}",
        "endpoint, edit": f"/console/endpoints/{to}/edit",
        "endpoint, count": f"/console/endpoints/{to}/send?since=2001-01-01",
        "dead letters": f"/console/dead-letters?tenant={tenant.slug}",
        "dead letters, count": f"/console/dead-letters/send?tenant={tenant.slug}",
        "bulk": f"/console/bulk?tenant={tenant.slug}",
        "bulk operation": f"/console/bulk/{operation['id']}",
        "event types": f"/console/events?tenant={tenant.slug}&type=job.failed",
        "feed": f"/console/feed?tenant={tenant.slug}",
        "no events": f"/console/feed?tenant={tenant.slug}&type=job.deleted",
        "event": f"/console/feed/{event}",
        "search": "/console/search?q=nothing",
        "sign in": "/console/sign-in",
    }


def test_no_screen_shuts_anybody_out(visitors: Visitors, tenant: TenantOfGateway) -> None:
    visitor = visitors.new("operator", bypass_csp=True)
    found = {}
    for name, path in _paths(tenant).items():
        page = visitor.open(path)
        for theme in _THEMES:
            page.emulate_media(color_scheme=theme)
            if violations := visitor.violations():
                found[name, theme] = violations
    assert found == {}


def test_every_screen_fits_and_its_policy_is_strict(
    visitors: Visitors, tenant: TenantOfGateway
) -> None:
    page = visitors.new("operator").page
    wide = []
    for name, path in _paths(tenant).items():
        answer = page.goto(path)
        assert answer is not None
        _is_strict(answer.headers)
        for width in _WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
                wide.append((name, width))
    assert wide == []


def _is_strict(headers: Mapping[str, str]) -> None:
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
