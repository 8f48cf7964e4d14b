"""Starts processes through a fork server, and knows when and how they end."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from tests.bench.harness.parts import ROOT, bare_environment
from tests.faults.harness.fork_server_main import Order

_STOP_SECONDS = 15.0


class Child:
    """A process; its status is negative if a signal ended it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        """Whether it still runs, as far as the fork server has said."""
        return not self._status.done()

    def end(self, status: int) -> None:
        """Note that it ended."""
        self._status.set_result(status)

    async def ended(self, seconds: float = 60.0) -> int:
        """Wait for its end; raises TimeoutError."""
        return await asyncio.wait_for(asyncio.shield(self._status), seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it by SIGKILL."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """End it by SIGTERM, or by SIGKILL if it does not end."""
        self.signal(signal.SIGTERM)
        try:
            return await self.ended(_STOP_SECONDS)
        except TimeoutError:
            await self.kill()
            return -signal.SIGKILL


class Starter(Protocol):
    """Starts processes of one version of the code."""

    async def start(self, order: Order) -> Child:
        """A new process; it may not answer yet."""
        ...


class ForkServer:
    """The client of a fork server: starts child processes."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._asked: deque[asyncio.Future[Child]] = deque()
        self._children: dict[int, Child] = {}

    async def start(self, order: Order) -> Child:
        """A new process; it may not answer yet."""
        future: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._asked.append(future)
        assert self._process.stdin is not None
        self._process.stdin.write(order.line())
        return await future

    async def listen(self) -> None:
        """Read the messages of the fork server until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            facts = json.loads(line)
            if "pid" in facts:
                child = self._children[facts["pid"]] = Child(facts["pid"])
                self._asked.popleft().set_result(child)
            else:
                self._children.pop(facts["ended"]).end(facts["status"])


@asynccontextmanager
async def start_fork_server(code: Path = ROOT) -> AsyncGenerator[ForkServer]:
    """A fork server during the block; the processes that it started end with it.

    `code` is the tree whose `gateway` it runs; the server's own code is always that of this tree.
    """
    # The first folder to be searched is the one with the code, before that of the tests.
    start = (
        f"import sys; sys.path[:0] = {[str(code), str(ROOT)]!r}; "
        "from tests.faults.harness.fork_server_main import main; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-c", start),
        env=bare_environment(),
        cwd=ROOT,
        stdin=PIPE,
        stdout=PIPE,
        start_new_session=True,
    )
    fork_server = ForkServer(process)
    listening = asyncio.create_task(fork_server.listen())
    try:
        yield fork_server
    finally:
        process.kill()
        await process.wait()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
