"""Tells a slow statement from a link that has fallen silent, which no error tells of."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from gateway.config.postgres_url import Host
from gateway.store.connection.connect import PostgresConnector, PostgresSession

_SUSPICIOUS_SECONDS = 1.0
_ANSWER_SECONDS = 0.8
_AGAIN_SECONDS = 2.0
_SILENT = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# It says itself that it serves nobody: it starts, stops, or has lost the connection.
_NOT_SERVING = (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)


class LinkMonitor:
    """Cuts connections whose server does not answer a new one either, reached in the same way."""

    def __init__(self, connector: PostgresConnector) -> None:
        self._connector = connector
        self._asking: dict[Host | None, asyncio.Task[bool]] = {}

    @contextmanager
    def watching(self, session: PostgresSession) -> Generator[None]:
        """Within the block a statement on a dead link fails after two seconds at the most."""
        watch = _Watch(self, session)
        try:
            yield
        finally:
            watch.end()

    async def is_felt(self, host: Host | None) -> bool:
        """Whether a host answers; those who ask at the same time share one question."""
        asking = self._asking.get(host)
        if asking is None or asking.done():
            asking = asyncio.get_running_loop().create_task(self._ask(host))
            self._asking[host] = asking
        return await asyncio.shield(asking)

    async def _ask(self, host: Host | None) -> bool:
        try:
            async with asyncio.timeout(
                max(_ANSWER_SECONDS, self._connector.url.connect_timeout or 0.0)
            ):
                await self._connector.touch(host)
        except (*_SILENT, *_NOT_SERVING):
            return False
        except asyncpg.PostgresError:
            return True  # that all its connections are in use, say, is an answer too
        return True


class _Watch:
    def __init__(self, pulse: LinkMonitor, session: PostgresSession) -> None:
        self._pulse = pulse
        self._session = session
        self._timer = self._armed(_SUSPICIOUS_SECONDS)
        self._task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _suspect(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._judge())

    async def _judge(self) -> None:
        if await self._pulse.is_felt(self._session.host):
            self._timer = self._armed(_AGAIN_SECONDS)
        else:
            self._session.terminate()

    def _armed(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._suspect)
