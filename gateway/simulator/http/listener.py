"""A listening port that can drop all connections, go down, and return on the same port."""

import asyncio
import ssl
from collections.abc import Callable

from gateway.simulator.http.connection import Answer, ClientConnection


class Listener:
    """Serves one port; a port of 0 takes a free one and keeps it."""

    def __init__(
        self,
        answer: Answer,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        closes_at_once: Callable[[], bool] = lambda: False,
    ) -> None:
        self.port = port
        self._answer = answer
        self._host = host
        self._tls = tls
        self._closes_at_once = closes_at_once
        self._peers: set[ClientConnection] = set()
        self._server: asyncio.Server | None = None
        self._return: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def base(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self._host}:{self.port}"

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: ClientConnection(self._answer, self._closes_at_once, self._peers),
            self._host,
            self.port,
            ssl=self._tls,
            backlog=1024,
            reuse_address=True,
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop at once: connections are reset."""
        self._stopped = True
        self._drop()
        await asyncio.sleep(0)  # lets the transports process the reset

    def _drop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for peer in list(self._peers):
            peer.reset()

    def go_down(self, seconds: float) -> None:
        """Drop all connections, and refuse new ones for `seconds` or until the next call."""
        loop = asyncio.get_running_loop()
        # Delayed, so that the response to the control call can leave.
        loop.call_later(0.02, self._down, seconds)

    def _down(self, seconds: float) -> None:
        self._drop()
        if self._return is not None:
            self._return.cancel()
        self._return = asyncio.get_running_loop().create_task(self._come_back(seconds))

    async def _come_back(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._server is None and not self._stopped:
            await self.start()
