"""Names that hang, on the way through the system's own resolver."""

import asyncio
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.adapters.webhooks.resolver import MAX_HANGING_PER_DOMAIN, MAX_LOOKUPS, SystemResolver
from gateway.adapters.webhooks.ssrf_guard import SlowLookupError, SsrfGuard, UnresolvedError

PUBLIC = "93.184.216.34"
DOZENS = 100
ENDS = """
import asyncio, socket, threading
from gateway.adapters.webhooks import ssrf_guard as module
from gateway.adapters.webhooks.ssrf_guard import SlowLookupError, SsrfGuard
module.LOOKUP_SECONDS = 0.01
socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
async def main():
    vetting = SsrfGuard(())
    try:
        await vetting.find("hang.example", 443)
    except SlowLookupError:
        await vetting.close()
asyncio.run(main())
"""


class Resolver:
    """What the system answers; a name with `hang` in it waits until the test ends."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.over = threading.Event()

    def getaddrinfo(self, host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        self.asked[host] += 1
        if "hang" in host:
            self.over.wait()
        if "none" in host:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 0))]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    return made


@asynccontextmanager
async def hanging(vetting: SsrfGuard, resolver: Resolver, *names: str) -> AsyncIterator[None]:
    """Within the block somebody waits for each of these names, as far as they are asked at all."""
    tasks = [asyncio.create_task(vetting.find(name, 443)) for name in names]
    try:
        await asyncio.sleep(0)
        yield
    finally:
        resolver.over.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await vetting.close()


async def test_names_that_hang_hold_up_no_other(resolver: Resolver) -> None:
    vetting = SsrfGuard(())
    names = [f"hang.{number}.example" for number in range(DOZENS)]
    async with hanging(vetting, resolver, *names):
        assert await vetting.find("good.example", 443) == [PUBLIC]


async def test_a_name_that_hangs_has_one_thread_however_often_it_is_asked_for(
    resolver: Resolver,
) -> None:
    vetting = SsrfGuard(())
    async with hanging(vetting, resolver, *["hang.example"] * 3):
        last = asyncio.create_task(vetting.find("hang.example", 443))
        await asyncio.sleep(0)
        resolver.over.set()
        assert await last == [PUBLIC]
    assert resolver.asked == {"hang.example": 1}


async def test_made_up_names_of_a_domain_that_hangs_are_soon_not_looked_up(
    resolver: Resolver,
) -> None:
    lookup = SystemResolver(hang_seconds=0)
    vetting = SsrfGuard((), lookup)
    names = [f"hang{number}.evil.example" for number in range(DOZENS)]
    async with hanging(vetting, resolver, *names):
        with pytest.raises(SlowLookupError, match="was not looked up, as too many others hang"):
            await vetting.find("more.evil.example", 443)
        assert await vetting.find("good.example", 443) == [PUBLIC]
        lookup.close()
    assert len(resolver.asked) == MAX_HANGING_PER_DOMAIN + 1


async def test_there_is_an_end_to_what_hangs(resolver: Resolver) -> None:
    vetting = SsrfGuard(())
    async with hanging(
        vetting, resolver, *(f"hang.{number}.example" for number in range(MAX_LOOKUPS))
    ):
        with pytest.raises(SlowLookupError):
            await vetting.find("good.example", 443)
    assert len(resolver.asked) == MAX_LOOKUPS


async def test_a_name_without_addresses_leaves_no_trace(resolver: Resolver) -> None:
    vetting = SsrfGuard(())
    async with hanging(vetting, resolver, "hang.none.example"):
        pass
    for _ in range(2):
        with pytest.raises(UnresolvedError, match="does not resolve"):
            await vetting.find("none.example", 443)
    assert resolver.asked == {"hang.none.example": 1, "none.example": 2}


async def test_a_machine_without_room_for_a_thread_begins_no_lookup(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    vetting = SsrfGuard(())
    with pytest.raises(SlowLookupError):
        await vetting.find("good.example", 443)
    await vetting.close()


def test_a_process_ends_while_a_name_hangs() -> None:
    ended = subprocess.run([sys.executable, "-c", ENDS], timeout=20, check=False)
    assert ended.returncode == 0
