"""One webhook on its way, and what comes back.

The status line and headers are a receiver's answer, and they alone decide. The body is kept only
for people to read: one that is too long, broken off or not over by the deadline changes nothing
about an answer that has come. What ends before that is a fault.
"""

import asyncio
from collections.abc import Sequence

from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.errors import SEND_ERRORS, explain, passing
from gateway.adapters.webhooks.response import MAX_KEPT, UnreadableError, WebhookResponse
from gateway.adapters.webhooks.timings import PhaseTimer, now
from gateway.core.webhooks.request import Reply, SendFault


class Exchange:
    """One webhook on its way, with as much of the answer as has come."""

    def __init__(self, connections: ConnectionPool, origin: Origin, request: bytes) -> None:
        self._connections = connections
        self._origin = origin
        self._request = request
        self.stopwatch = PhaseTimer()
        self._answer = WebhookResponse(self.stopwatch)

    async def run(self) -> Reply:
        """The answer; one that failed before anything was sent is asked for once more.

        That is over a new connection: where one was stale, others that are kept for the receiver
        may be too.
        """
        async with self._connections.places:
            try:
                return await self._try_once(fresh=False)
            except SEND_ERRORS as error:
                if self._answer.status is not None or not passing(error, self.stopwatch):
                    raise
            self.stopwatch.restart()
            self._answer = WebhookResponse(self.stopwatch)
            return await self._try_once(fresh=True)

    def broken(self, error: BaseException) -> Reply | SendFault:
        """What an exchange that broke off came to."""
        if self._answer.status is not None:
            return self._reply(self._answer.status)
        kind, detail = explain(error, self.stopwatch)
        return SendFault(kind, detail, self.stopwatch.seconds(), self.stopwatch.timings())

    async def _try_once(self, *, fresh: bool) -> Reply:
        connection = await self._connections.take(self._origin, self.stopwatch, fresh=fresh)
        try:
            return self._reply(await self._ask(connection))
        except SEND_ERRORS:
            raise
        except Exception as error:
            report = {"message": "an answer could not be read", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)
            why = f"The gateway could not read the answer ({type(error).__name__})."
            raise UnreadableError(why) from error
        finally:
            self._connections.give_back(connection)

    async def _ask(self, connection: WebhookConnection) -> int:
        self.stopwatch.ready = now()
        return await connection.exchange(self._request, self._answer)

    def _reply(self, status: int) -> Reply:
        return Reply(
            status,
            _readable(self._answer.headers),
            bytes(self._answer.body),
            self.stopwatch.seconds(),
            self.stopwatch.timings(),
        )


def _readable(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
    kept: list[tuple[str, str]] = []
    room = MAX_KEPT
    for name, value in raw:
        room -= len(name) + len(value)
        if room < 0:
            break
        kept.append((_printable(name).lower(), _printable(value)))
    return tuple(kept)


def _printable(text: bytes) -> str:
    shown = text.decode("latin-1")
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)
