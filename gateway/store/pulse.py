"""Tells a slow statement from a link that has fallen silent, which no error tells of."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

_SUSPICIOUS_SECONDS = 1.0
_ANSWER_SECONDS = 0.8
_AGAIN_SECONDS = 2.0
_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class Pulse:
    """Cuts connections whose server does not answer a new one either; `url` is the driver's."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._asking: asyncio.Task[bool] | None = None

    @contextmanager
    def watching(self, driver: Any) -> Generator[None]:  # noqa: ANN401 - asyncpg has no types
        """Within the block a statement on a dead link fails after two seconds at the most."""
        watch = _Watch(self, driver)
        try:
            yield
        finally:
            watch.end()

    async def is_felt(self) -> bool:
        """Whether the server answers; those who ask at the same time share one question."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> bool:
        driver: Any = asyncpg
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                connection = await driver.connect(self._url)
        except _FAILURES:
            return False
        connection.terminate()
        return True


class _Watch:
    def __init__(self, pulse: Pulse, driver: Any) -> None:  # noqa: ANN401
        self._pulse = pulse
        self._driver = driver
        self._timer = self._armed(_SUSPICIOUS_SECONDS)
        self._task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _suspect(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._judge())

    async def _judge(self) -> None:
        if await self._pulse.is_felt():
            self._timer = self._armed(_AGAIN_SECONDS)
        else:
            self._driver.terminate()

    def _armed(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._suspect)
