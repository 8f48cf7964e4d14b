"""Runs a handler at most once at a time, and once more if it was called for meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.errors import Unavailable

_PAUSE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class SingleRun:
    """A handler with its signals: any number of them during a run make one more run."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], timeout: float) -> None:
        self.name = name
        self._run = run
        self._timeout = timeout
        self._again = False
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_awake(self) -> bool:
        """Whether the handler runs, so that a signal costs nothing."""
        return self._task is not None and not self._task.done()

    def signal(self) -> None:
        """Have the handler run from its start once, now or after the run that is under way."""
        if self._is_stopped:
            return
        self._again = True
        if not self.is_awake:
            self._task = asyncio.create_task(self._runs(), name=f"session {self.name}")

    def stop(self) -> None:
        """Start no more runs."""
        self._is_stopped, self._again = True, False

    async def join(self, seconds: float) -> None:
        """Wait for the run under way, and cancel it when that takes longer than `seconds`."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _runs(self) -> None:
        while self._again:
            self._again = False
            try:
                async with asyncio.timeout(self._timeout):
                    await self._run()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next wake-up must run
                if not isinstance(error, Unavailable):  # which is told once, not at every try
                    said = f"{type(error).__name__}: {error}"
                    _log.exception("a session failed", session=self.name, error=said)
                # What was due still is, and no other wake-up may come for it.
                self._again = not self._is_stopped
                await asyncio.sleep(_PAUSE_SECONDS)
