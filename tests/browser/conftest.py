"""A browser before a whole gateway; a test fails on what the console of the browser reports."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.chromium import NoBrowserError, find_chromium, install
from tests.browser.visitor import Gateway, Visitors
from tests.cli.conftest import Running, running
from tests.conftest import Shared

__all__ = ["running"]  # the gateway that other tests start, too


@pytest.fixture(scope="session")
def chromium(shared: Shared) -> tuple[str, dict[str, str]]:
    """Where Chromium is, and its environment; one worker fetches it for all."""

    def make(answer: Path) -> None:
        try:
            install()
            answer.write_text(json.dumps(find_chromium()))
        except NoBrowserError as error:
            answer.write_text(json.dumps(str(error)))

    found = json.loads(shared.once("chromium.json", make))
    if isinstance(found, str):
        pytest.skip(f"no Chromium for the browser tests: {found}")
    path, env = found
    return path, env


@pytest.fixture(scope="module")
def browser(chromium: tuple[str, dict[str, str]]) -> Iterator[Browser]:
    path, env = chromium
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        found = playwright.chromium.launch(
            executable_path=path, args=arguments, env={**env} or None
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def gateway(chromium: tuple[str, dict[str, str]], running: Running) -> Gateway:
    """The running gateway; tests keep out of each other's way by tenants and names of their own."""
    return Gateway(running)


@pytest.fixture
def visitors(browser: Browser, gateway: Gateway) -> Iterator[Visitors]:
    """Makes visitors; the test fails if one of them saw an error or left the origin."""
    made = Visitors(browser, gateway)
    yield made
    made.close()
    assert made.problems == []
