"""Sign-in with OpenID Connect in a real browser: a gateway with a provider, and a provider at another origin."""

import subprocess
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from gateway.embedded import free_port
from tests.browser.visitor import Gateway
from tests.cli.commands import bare_environment, settings_for
from tests.identity_provider import CLIENT_ID, CLIENT_SECRET, Provider, provider_on_loopback

pytestmark = pytest.mark.timeout(600)  # the first test waits for npm and for a whole gateway

_SECONDS = 60
_HOSTILE = "<img src=x onerror=alert(1)>\u202e" + "w" * 300


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with provider_on_loopback() as made:
        yield made


@pytest.fixture(scope="module")
def staffed(gateway: Gateway, provider: Provider) -> Iterator[str]:
    """The address of another API process of the same gateway, whose staff sign in at the provider."""
    facts, port = gateway.running.facts, free_port()
    address = f"http://127.0.0.1:{port}"
    own = {
        "GATEWAY_MASTER_KEY": (gateway.running.folder / "master.key").read_text(),
        "GATEWAY_PUBLIC_URL": address,
        "GATEWAY_OIDC_ISSUER": provider.issuer,
        "GATEWAY_OIDC_CLIENT_ID": CLIENT_ID,
        "GATEWAY_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "GATEWAY_OIDC_ROLES": '{"ops": "operator"}',
        "GATEWAY_OIDC_PROVIDER_NAME": "Example ID",
    }
    process = subprocess.Popen(
        (sys.executable, "-m", "gateway", "serve", "--port", str(port)),
        env={
            **bare_environment(),
            **settings_for(facts["databaseUrl"], facts["redisUrl"]),
            **own,
        },
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(process, f"{address}/health/ready")
        yield address
    finally:
        process.terminate()
        process.wait(_SECONDS)


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + _SECONDS
    while True:
        assert process.poll() is None, "gateway serve ended"
        assert time.monotonic() < end, "gateway serve is not ready"
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)


def _problems(page: Page) -> list[str]:
    """What goes wrong on a page from now on."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda told: found.append(told.text) if told.type == "error" else None)
    return found


def test_there_and_back_and_out_again(staffed: str, provider: Provider, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    problems = _problems(page)
    provider.claims = {"email": _HOSTILE}

    page.goto(f"{staffed}/console/jobs?status=FAILED")
    expect(page).to_have_title("Sign in · job gateway")
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    page.click("text=Sign in with Example ID")
    page.wait_for_url(f"{provider.issuer}/authorize**")
    page.click("text=Continue as Ann")
    page.wait_for_url(f"{staffed}/console/jobs?status=FAILED")
    expect(page).to_have_title("Jobs · job gateway")
    assert [one.get("name") for one in context.cookies(staffed)] == ["__Host-gateway-console"]

    page.goto(f"{staffed}/console/account")
    expect(page.locator(".facts").first).to_contain_text("<img src=x onerror=alert(1)>\\u202e")
    assert page.locator("main img").count() == 0
    assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

    page.click("button:has-text('Sign out here')")
    expect(page).to_have_title("Sign in · job gateway")
    page.click("text=Sign out of Example ID as well")
    expect(page).to_have_title("Left")
    page.click("text=Back")
    page.wait_for_url(f"{staffed}/console/sign-in")
    page.goto(f"{staffed}/console")
    expect(page).to_have_title("Sign in · job gateway")
    assert problems == []
    context.close()


def test_somebody_without_a_role_is_told_which_claim_counts(
    staffed: str, provider: Provider, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    provider.claims = {"groups": ["others"]}
    page.goto(f"{staffed}/console")
    page.click("text=Sign in with Example ID")
    page.click("text=Continue as Ann")
    expect(page.get_by_role("alert")).to_contain_text("claim groups gives no role")
    assert context.cookies(staffed) == []
    context.close()
