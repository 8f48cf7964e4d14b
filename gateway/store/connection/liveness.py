"""Tell a slow statement from a dead network link, which raises no error.

When a statement takes long, its host is asked for a new connection. If the host does not answer, the link is
dead and the connection is cut.
"""

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
# The server says that it serves nobody: it starts, stops, or has lost the connection.
_NOT_SERVING = (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError)


class LinkMonitor:
    """Cuts connections whose host does not answer a new connection either."""

    def __init__(self, connector: PostgresConnector) -> None:
        self._connector = connector
        self._probes: dict[Host | None, asyncio.Task[bool]] = {}

    @contextmanager
    def watching(self, session: PostgresSession) -> Generator[None]:
        """Within the block, a statement on a dead link fails after at most two seconds."""
        watch = _Watch(self, session)
        try:
            yield
        finally:
            watch.end()

    async def is_alive(self, host: Host | None) -> bool:
        """Whether a host answers; callers at the same time share one probe."""
        probe = self._probes.get(host)
        if probe is None or probe.done():
            probe = asyncio.get_running_loop().create_task(self._probe(host))
            self._probes[host] = probe
        return await asyncio.shield(probe)

    async def _probe(self, host: Host | None) -> bool:
        try:
            async with asyncio.timeout(
                max(_ANSWER_SECONDS, self._connector.url.connect_timeout or 0.0)
            ):
                await self._connector.probe(host)
        except (*_SILENT, *_NOT_SERVING):
            return False
        except asyncpg.PostgresError:
            return True  # an error is an answer too, such as that all connections are in use
        return True


class _Watch:
    def __init__(self, monitor: LinkMonitor, session: PostgresSession) -> None:
        self._monitor = monitor
        self._session = session
        self._timer = self._check_after(_SUSPICIOUS_SECONDS)
        self._task: asyncio.Task[None] | None = None

    def end(self) -> None:
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start_check(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._check())

    async def _check(self) -> None:
        if await self._monitor.is_alive(self._session.host):
            self._timer = self._check_after(_AGAIN_SECONDS)
        else:
            self._session.terminate()

    def _check_after(self, seconds: float) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._start_check)
