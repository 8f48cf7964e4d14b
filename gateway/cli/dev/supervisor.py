"""Keep child processes running: restart each one that ends, with back-off."""

import asyncio
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from gateway.embedded.part import Part, PartFailedError, kill, spawn, stop, wait_ready

_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 10.0
_SETTLED_SECONDS = 10.0


@dataclass(slots=True)
class _Kept:
    part: Part
    process: Process
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """Starts parts, restarts those that end on their own, and stops parts in the given order.

    `say` gets one line about each unexpected end; `changed` is called after each restart.
    """

    def __init__(self, say: Callable[[str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._kept: dict[str, _Kept] = {}

    def pids(self) -> dict[str, int]:
        """Return the current pid of every part by its name."""
        return {name: kept.process.pid for name, kept in self._kept.items()}

    async def start(self, *parts: Part) -> None:
        """Start parts in parallel and wait until all are ready; raises PartFailedError."""
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(self._start(part))
        except* PartFailedError as failures:
            first = failures.exceptions[0]
        else:
            return
        raise first

    async def _start(self, part: Part) -> None:
        part.log.write_bytes(b"")
        kept = self._kept[part.name] = _Kept(part, await spawn(part))
        await wait_ready(part, kept.process)
        kept.keeper = asyncio.create_task(self._keep(kept))

    async def _keep(self, kept: _Kept) -> None:
        delay = _FIRST_DELAY_SECONDS
        while True:
            began = time.monotonic()
            status = await kept.process.wait()
            if time.monotonic() - began > _SETTLED_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            self._say(f"{kept.part.name} ended ({_reason(status)}), restarting it")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_SECONDS)
            with suppress(OSError):  # no memory or no processes: retry in the next iteration
                kept.process = await spawn(kept.part)
                self._changed()

    async def stop(self, names: Iterable[str]) -> None:
        """Stop these parts in parallel, and wait until the last one has ended."""
        leaving = [self._kept[name] for name in names if name in self._kept]
        for kept in leaving:
            if kept.keeper is not None:
                kept.keeper.cancel()
        await asyncio.gather(*(stop(kept.part, kept.process) for kept in leaving))
        for kept in leaving:
            del self._kept[kept.part.name]

    def kill(self) -> None:
        """Kill every part at once, without clean-up."""
        for kept in self._kept.values():
            if kept.keeper is not None:
                kept.keeper.cancel()
            kill(kept.process)


def _reason(status: int) -> str:
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
