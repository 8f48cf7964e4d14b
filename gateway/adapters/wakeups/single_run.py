"""Runs a handler once at a time, and once more if it was signalled during the run.

A handler that fails or exceeds its time limit runs again after a pause of one second.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from gateway.errors import Unavailable

_PAUSE_SECONDS = 1.0

_log = structlog.get_logger(__name__)


class SingleRun:
    """A handler and its signals: any number of signals during a run cause one more run."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], timeout: float) -> None:
        self.name = name
        self._run = run
        self._timeout = timeout
        self._is_signalled = False
        self._is_stopped = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the handler runs, so that a signal only sets a flag."""
        return self._task is not None and not self._task.done()

    def signal(self) -> None:
        """Run the handler from its start: now, or after the run that is under way."""
        if self._is_stopped:
            return
        self._is_signalled = True
        if not self.is_running:
            self._task = asyncio.create_task(self._run_while_signalled(), name=f"run {self.name}")

    def stop(self) -> None:
        """Start no more runs."""
        self._is_stopped, self._is_signalled = True, False

    async def join(self, seconds: float) -> None:
        """Wait for the run under way, and cancel it after `seconds`."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run_while_signalled(self) -> None:
        while self._is_signalled:
            self._is_signalled = False
            try:
                async with asyncio.timeout(self._timeout):
                    await self._run()
            except Exception as error:  # noqa: BLE001 - after any error the next wake-up must run
                if not isinstance(error, Unavailable):  # an outage is logged once, elsewhere
                    cause = f"{type(error).__name__}: {error}"
                    _log.exception("a handler failed", handler=self.name, error=cause)
                # The rows are still due, and no other wake-up may come for them.
                self._is_signalled = not self._is_stopped
                await asyncio.sleep(_PAUSE_SECONDS)
