"""One HTTP/1.1 connection to a receiver: writes a request and reads its response, then the next."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

from typing_extensions import override

from gateway.adapters.webhooks.response import WebhookResponse

_PIECE = 64 * 1024


class HungUpError(Exception):
    """An open connection was closed before a response came."""


class Origin(NamedTuple):
    """The host and port that a connection leads to, and whether it uses TLS."""

    host: str
    port: int
    is_tls: bool


class WebhookConnection(asyncio.Protocol):
    """An open connection, for one exchange at a time.

    `on_end` is called when it has closed or may not be used any more, perhaps more than once.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.on_end: Callable[[WebhookConnection], None] | None = None
        self.is_closed = False
        self.is_reusable = False  # a complete response came, and nothing is under way
        self._answer: WebhookResponse | None = None
        self._is_new = True
        self._early = b""
        self._is_paused = False
        self._event: asyncio.Future[None] | None = None

    async def exchange(self, request: bytes, answer: WebhookResponse) -> int:
        """Send a request, read the response to its end, and return its status.

        A receiver may answer before it has read the whole request; the rest is not sent then.
        Raises HungUpError, or the error of the response.
        """
        self.is_reusable = self._is_new = False
        self._answer = answer
        try:
            if self._early:
                answer.feed(self._early)
            is_sent = await self._send(request, answer)
            while not self._is_over(answer):
                await self._wait_for_event()
        finally:
            self._answer = None
            answer.close()
        if answer.error is not None:
            raise answer.error
        if answer.status is None:
            raise HungUpError
        self.is_reusable = (
            answer.is_reusable
            and is_sent
            and not self._early
            and not self.is_closed
            and self._transport.get_write_buffer_size() == 0
        )
        return answer.status

    def close(self) -> None:
        """Abort the connection; unsent bytes are dropped."""
        self._transport.abort()
        self._end()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        """Feed the response. Bytes after it close the connection, because they would start the next.

        A receiver may speak first, for example to say that it is overloaded. Those bytes are kept
        for the first request, and the connection is then used for no other.
        """
        answer = self._answer
        if self._is_new:
            self._early += data
        elif answer is None or answer.is_over:
            self.close()
        else:
            answer.feed(data)
            if answer.is_over:
                self._wake()

    @override
    def eof_received(self) -> None:
        """Treat a half-close by the receiver as the end of the connection."""
        self._end()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Mark the connection as closed."""
        self._end()

    @override
    def pause_writing(self) -> None:
        """Stop writing until the transport's buffer has drained."""
        self._is_paused = True

    @override
    def resume_writing(self) -> None:
        """Continue to write."""
        self._is_paused = False
        self._wake()

    async def _send(self, request: bytes, answer: WebhookResponse) -> bool:
        if len(request) <= _PIECE:
            self._transport.write(request)
            return True
        rest = memoryview(request)
        while rest and not self._is_over(answer):
            if self._is_paused:
                await self._wait_for_event()
            else:
                self._transport.write(rest[:_PIECE])
                rest = rest[_PIECE:]
        return not rest

    def _is_over(self, answer: WebhookResponse) -> bool:
        return answer.is_over or self.is_closed

    async def _wait_for_event(self) -> None:
        self._event = asyncio.get_running_loop().create_future()
        try:
            await self._event
        finally:
            self._event = None

    def _wake(self) -> None:
        if self._event is not None and not self._event.done():
            self._event.set_result(None)

    def _end(self) -> None:
        self.is_closed = True
        self._wake()
        if self.on_end is not None:
            self.on_end(self)
