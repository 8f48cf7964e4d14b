"""A Valkey of one test alone, to be stopped, killed, frozen and started again on its port."""

import asyncio
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.embedded.folder import hold
from gateway.embedded.valkey import Valkey, prepare_valkey


@dataclass
class OwnValkey:
    """The server and its process; all data is lost whenever it ends."""

    server: Valkey
    process: Process | None = None

    @property
    def url(self) -> str:
        return self.server.url

    async def start(self) -> None:
        part = self.server.part
        self.process = await asyncio.create_subprocess_exec(
            *part.argv, cwd=part.folder, stdout=DEVNULL, stderr=DEVNULL
        )
        while not await part.is_ready(self.process.pid):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        self.send(number)
        assert self.process
        await self.process.wait()
        self.process = None


@asynccontextmanager
async def own_valkey(folder: Path) -> AsyncGenerator[OwnValkey]:
    """A server that does not run yet."""
    with hold(folder) as place:
        own = OwnValkey(prepare_valkey(place))
        try:
            yield own
        finally:
            if own.process:
                await own.end()


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition, and fail if it never comes true."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what the tested code has no event for
            await asyncio.sleep(0.005)
