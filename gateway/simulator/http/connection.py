"""One client connection: reads requests in order and writes scripted responses.

Normal responses are written directly in `data_received`; only one with a `WireScript` needs a task.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

from typing_extensions import override

from gateway.simulator.http.http1 import CONTINUE, MalformedError, Reader, head
from gateway.simulator.http.messages import Request, Response, WireScript, problem

Answer = Callable[[Request], Response]
FLOOD_PIECE = b" " * 65_536
LINGER_ZERO = struct.pack("ii", 1, 0)


class ClientConnection(asyncio.Protocol):
    """Serves one socket; `peers` holds all live connections of the listener."""

    def __init__(
        self, answer: Answer, closes_at_once: Callable[[], bool], peers: "set[ClientConnection]"
    ) -> None:
        self._answer = answer
        self._closes_at_once = closes_at_once
        self._peers = peers
        self._reader = Reader()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._may_write = asyncio.Event()
        self._may_write.set()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._peers.add(self)
        if self._closes_at_once():
            self._transport.close()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._peers.discard(self)
        self._transport = None
        self._may_write.set()
        if self._task is not None:
            self._task.cancel()

    @override
    def pause_writing(self) -> None:
        self._may_write.clear()

    @override
    def resume_writing(self) -> None:
        self._may_write.set()

    @override
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._serve()

    def reset(self) -> None:
        """Drop the connection with a TCP reset instead of an orderly close."""
        transport = self._transport
        if transport is None:
            return
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        transport.abort()

    def _serve(self) -> None:
        while self._task is None and (transport := self._transport) is not None:
            try:
                request = self._reader.next()
            except MalformedError as error:
                response = problem(error.status, "This is not HTTP/1.1 that the server reads.")
                transport.write(head(response, len(response.body)) + response.body)
                transport.close()
                return
            if request is None:
                if self._reader.expects_continue:
                    self._reader.expects_continue = False
                    transport.write(CONTINUE)
                return
            self._reply(transport, request)

    def _reply(self, transport: asyncio.Transport, request: Request) -> None:
        response = self._answer(request)
        body = response.body
        start = head(response, len(body))
        if response.wire is not None:
            loop = asyncio.get_running_loop()
            self._task = loop.create_task(self._act(response, response.wire))
            return
        transport.write(start if request.method == "HEAD" else start + body)
        if request.headers.get("connection", "") == "close":
            transport.close()

    async def _act(self, response: Response, wire: WireScript) -> None:
        """Run the script, then continue with requests that came meanwhile."""
        await asyncio.sleep(wire.delay)
        await self._end(response, wire)
        self._task = None
        self._serve()

    async def _end(self, response: Response, wire: WireScript) -> None:
        whole = head(response, len(response.body)) + response.body
        match wire.end:
            case "answer":
                self._write(whole)
            case "hang":
                await asyncio.sleep(10**9 if wire.hang_seconds is None else wire.hang_seconds)
                self.reset()
            case "reset":
                self.reset()
            case "close":
                self._close()
            case "cut":
                self._write(whole[: len(whole) - max(1, len(response.body) // 2)])
                await asyncio.sleep(
                    0.02
                )  # lets the first half leave, because a reset discards queued bytes
                self.reset()
            case "drip":
                await self._drip(response, wire)
            case "flood":
                await self._flood(response, wire.flood_bytes)

    async def _drip(self, response: Response, wire: WireScript) -> None:
        start, body = head(response, len(response.body)), response.body
        if wire.drip_from == "body":
            self._write(start)
        else:
            body = start + body
        for place in range(0, len(body), wire.drip_bytes):
            await asyncio.sleep(wire.drip_seconds)
            self._write(body[place : place + wire.drip_bytes])

    async def _flood(self, response: Response, size: int) -> None:
        """Pad the body with spaces up to `size`; JSON stays well formed."""
        body = response.body[:size]
        self._write(head(response, size) + body)
        left = size - len(body)
        while left > 0 and self._transport is not None:
            await self._may_write.wait()
            self._write(FLOOD_PIECE[:left])
            left -= len(FLOOD_PIECE)
            await asyncio.sleep(0)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()
