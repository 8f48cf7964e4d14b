"""One webhook request and its response, with one immediate retry.

The status line and the headers decide the result. The body is kept only for people to read: a body
that is too long, breaks off or exceeds the deadline does not change the result. An exchange that
ends before the headers are complete is a fault.
"""

import asyncio
from collections.abc import Sequence

from gateway.adapters.webhooks.connection import Origin, WebhookConnection
from gateway.adapters.webhooks.connection_pool import ConnectionPool
from gateway.adapters.webhooks.errors import SEND_ERRORS, classify, is_transient
from gateway.adapters.webhooks.response import MAX_KEPT, UnreadableError, WebhookResponse
from gateway.adapters.webhooks.timings import PhaseTimer, now
from gateway.core.webhooks.signed_request import Reply, SendFault


class Exchange:
    """One webhook request, with as much of the response as has come."""

    def __init__(self, connections: ConnectionPool, origin: Origin, request: bytes) -> None:
        self._connections = connections
        self._origin = origin
        self._request = request
        self.timer = PhaseTimer()
        self._answer = WebhookResponse(self.timer)

    async def run(self) -> Reply:
        """Send the request and return the response; retries a transient failure once.

        The retry uses a new connection, because other kept connections may be stale, too.
        """
        async with self._connections.slots:
            try:
                return await self._try_once(fresh=False)
            except SEND_ERRORS as error:
                if self._answer.status is not None or not is_transient(error, self.timer):
                    raise
            self.timer.restart()
            self._answer = WebhookResponse(self.timer)
            return await self._try_once(fresh=True)

    def after(self, error: BaseException) -> Reply | SendFault:
        """Return the result of an exchange that raised: its response if the headers came, or a fault."""
        if self._answer.status is not None:
            return self._reply(self._answer.status)
        kind, detail = classify(error, self.timer)
        return SendFault(kind, detail, self.timer.seconds(), self.timer.timings())

    async def _try_once(self, *, fresh: bool) -> Reply:
        connection = await self._connections.take(self._origin, self.timer, fresh=fresh)
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
        self.timer.ready = now()
        return await connection.exchange(self._request, self._answer)

    def _reply(self, status: int) -> Reply:
        return Reply(
            status,
            _readable_headers(self._answer.headers),
            bytes(self._answer.body),
            self.timer.seconds(),
            self.timer.timings(),
        )


def _readable_headers(raw: Sequence[tuple[bytes, bytes]]) -> tuple[tuple[str, str], ...]:
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
