"""Every known SSRF bypass, with a canary that listens on all of this machine.

What is given at registration goes to `refusal`; what a test or a delivery calls goes to `send`.
"""

import asyncio
import socket
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network

import pytest

from gateway.adapters.webhooks.sender import HttpSender
from gateway.ports import Reply, SendFault
from tests.adapters.connect_proxy import ConnectProxy, proxying
from tests.adapters.receiver import OK, Receiver, read_request, receiving, sending

# The one address of this machine that the sender may call; the canary hears of all others.
GOOD = "127.0.0.2"
PUBLIC = "93.184.216.34"

NAMES = {
    "good.example": [GOOD],
    "localhost": ["127.0.0.1", "::1"],
    "proxy.example": ["127.0.0.1"],
    "private.example": ["127.0.0.1"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "zero.example": ["0.0.0.0"],
    "zero6.example": ["::"],
    "loopback6.example": ["::1"],
    "lan.example": ["10.0.0.1"],
    "metadata.example": ["169.254.169.254"],
    "zone.example": ["fe80::1%1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "compatible.example": ["::127.0.0.1"],
    "translated.example": ["::ffff:0:127.0.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "nat64-local.example": ["64:ff9b:1::7f00:1"],
    "6to4.example": ["2002:7f00:1::"],
    "teredo.example": ["2001:0:4136:e378:8000:63bf:80ff:fffe"],
    "mixed.example": [GOOD, "127.0.0.1"],
    "mixed-backwards.example": ["127.0.0.1", GOOD],
    "mixed6.example": [GOOD, "::1"],
    "mixed-public.example": [PUBLIC, "127.0.0.1"],
}
SPELLINGS = [
    *(name for name in NAMES if name not in ("good.example", "proxy.example")),
    "localhost.",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.01",
    "00127.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "\u2460\u2461\u2466.0.0.1",
    "127\u30020\u30020\u30021",
    "127%2e0.0.1",
    "%31%32%37.0.0.1",
    "0.0.0.0",
    "0",
    "0x0",
    "169.254.169.254",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0:127.0.0.1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::7f00:1]",
    "[2002:7f00:1::]",
    "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[::1%25lo]",
    "[::1%lo]",
    "[fe80::1%25lo]",
    "[127.0.0.1]",
    "user@127.0.0.1",
    "user:pw@127.0.0.1",
    "good.example:80@127.0.0.1",
    "good.example@127.0.0.1",
    "127.0.0.1\\@good.example",
    "127.0.0.1#@good.example",
    "127.0.0.1?@good.example",
    "good.example#@127.0.0.1",
    "127.0.0.1\t",
    "127.0.0.1\r\nHost: good.example",
    "127.0.0.1%00.good.example",
]


@dataclass
class Scene:
    """The canary, and a sender that may call one address of this machine and no other."""

    receiver: Receiver
    sender: HttpSender
    proxy: ConnectProxy | None
    hits: list[str]
    turns: list[list[str]]  # what rebind.example is, each time that somebody asks

    async def ways_in(self) -> list[str]:
        """The spellings that are not stopped in a send, nor at registration if they are addresses."""
        found: list[str] = []
        for host in SPELLINGS:
            refusal = await self.sender.refusal(self.receiver.url(host=host))
            outcome = await self.sender.send(self.receiver.webhook(host=host))
            stopped = isinstance(outcome, SendFault) and outcome.kind in {"blocked", "dns"}
            is_named = isinstance(outcome, SendFault) and outcome.kind == "dns"
            if (refusal is None and not is_named) or not stopped:
                found.append(f"{host!r}: {refusal}, {outcome}")
        return found

    async def get(self, host: str, path: str = "/hook") -> int | str:
        """The status of the answer, or the kind of fault."""
        outcome = await self.sender.send(self.receiver.webhook(host=host, path=path))
        return outcome.status if isinstance(outcome, Reply) else outcome.kind


def everywhere() -> socket.socket:
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", 0))


@asynccontextmanager
async def set_up(*, through_proxy: bool) -> AsyncIterator[Scene]:
    hits: list[str] = []
    turns: list[list[str]] = []

    async def talk(reader: Reader, writer: Writer) -> None:
        called = str(writer.get_extra_info("sockname")[0]).removeprefix("::ffff:")
        if called != GOOD:
            hits.append(called)
        while called == GOOD:
            status = (await read_request(reader)).split(b" ")[1].removeprefix(b"/")
            answer = b"HTTP/1.1 %s Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"
            writer.write(answer % (status, receiver.url().encode()) if status.isdigit() else OK)

    async def look_up(host: str, port: int) -> Sequence[str]:
        return turns.pop(0) if host == "rebind.example" else NAMES.get(host, [])

    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving(talk, listener=everywhere()))
        proxy = await stack.enter_async_context(proxying()) if through_proxy else None
        sender = await stack.enter_async_context(
            sending(
                allow_private=False,
                allowed_networks=(IPv4Network(GOOD),),
                allowed_ports=frozenset({receiver.port}),
                lookup=look_up,
                proxy=proxy.way() if proxy else None,
            )
        )
        yield Scene(receiver, sender, proxy, hits, turns)


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
async def test_no_ssrf_bypass_reaches_the_canary(
    through_proxy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with set_up(through_proxy=through_proxy) as scene:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, scene.receiver.url(path=""))
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert await scene.sender.refusal(scene.receiver.url(host="good.example")) is None
        assert await scene.get("good.example") == 200  # on that very port, by the same sender

        assert await scene.ways_in() == []
        for status in (301, 302, 303, 307, 308):
            assert await scene.get("good.example", f"/{status}") == status

        rebind = scene.receiver.url(host="rebind.example")
        for later in (["127.0.0.1"], [GOOD, "127.0.0.1"], ["::1"]):
            scene.turns[:] = [later]
            assert await scene.sender.refusal(rebind) is None
            assert await scene.get("rebind.example") == "dns"
        scene.turns[:] = [[GOOD], ["127.0.0.1"]]
        assert [await scene.get("rebind.example") for _ in range(2)] == [200, 200]
    assert scene.hits == []
    if scene.proxy is not None:
        assert set(scene.proxy.asked_for) == {f"{GOOD}:{scene.receiver.port}"}


async def test_the_canary_counts_a_call_that_is_allowed() -> None:
    async with set_up(through_proxy=False) as scene:
        for host in ("127.0.0.1", "localhost"):
            reader, writer = await asyncio.open_connection(host, scene.receiver.port)
            assert await reader.read() == b""
            writer.close()
    assert len(scene.hits) == 2


@pytest.mark.parametrize("host", ["localhost", "localhost.", "LOCALHOST"])
async def test_the_machine_s_own_names_are_not_called(host: str) -> None:
    async with (
        receiving() as canary,
        sending(allow_private=False, allowed_ports=frozenset({canary.port})) as sender,
    ):
        assert await sender.refusal(canary.url(host=host)) is not None
        fault = await sender.send(canary.webhook(host=host))
    assert isinstance(fault, SendFault)
    assert fault.kind == "blocked"
    assert canary.connections == 0
