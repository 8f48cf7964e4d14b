"""What holds for every screen: it can be used by everybody, in both themes, at any width, without errors."""

from typing import Literal

import pytest

from gateway.console.screens.job_list.columns import COLUMNS
from tests.browser.visitor import Gateway, TenantOfGateway, Visitors

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway


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


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_screen_shuts_anybody_out(
    theme: Literal["light", "dark"], visitors: Visitors, tenant: TenantOfGateway
) -> None:
    visitor = visitors.new("operator", color_scheme=theme, bypass_csp=True)
    found = {}
    for name, path in _paths(tenant).items():
        visitor.open(path)
        if violations := visitor.violations():
            found[name] = violations
    assert found == {}


@pytest.mark.parametrize("width", [360, 800, 1440])
def test_every_screen_fits(width: int, visitors: Visitors, tenant: TenantOfGateway) -> None:
    visitor = visitors.new("operator", viewport={"width": width, "height": 800})
    wide = []
    for name, path in _paths(tenant).items():
        page = visitor.open(path)
        if page.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    assert wide == []


def test_the_policy_of_every_screen_is_strict(visitors: Visitors, tenant: TenantOfGateway) -> None:
    page = visitors.new("operator").page
    for path in _paths(tenant).values():
        headers = page.request.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
