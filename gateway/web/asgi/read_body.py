"""Reads request bodies once the caller is known, with a limit for each and one for the process."""

import asyncio
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any, cast

from gateway.errors import BadRequest, PayloadTooLarge, RequestTimeout, Unavailable
from gateway.web.asgi.content_type import require_readable
from gateway.web.asgi.types import Message, Receive, Scope

_READ_SECONDS = 30.0
# The rest of a body is read and discarded, so that a client that still sends receives the response.
_DISCARD_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 30.0
# Room for at least so many bodies of the largest size, even if the setting is lower.
_LEAST_BODIES = 4


class BodyRoom:
    """The memory that one process has for request bodies.

    An owner may hold at most as much as is free, so large senders leave room for others.
    """

    def __init__(self, largest: int, most: int) -> None:
        self.largest = largest
        self._free = max(most, _LEAST_BODIES * largest)
        self._held: dict[str, int] = {}

    def take(self, owner: str, size: int) -> None:
        """Hold so many more bytes; raises Unavailable if there is no room."""
        held = self._held.get(owner, 0) + size
        if held > self._free:
            raise Unavailable(
                "This process holds as many request bodies as it has memory for. "
                "Nothing was accepted; try again in a moment.",
                retry_after=1,
            )
        self._held[owner] = held
        self._free -= size

    def give_back(self, owner: str, size: int) -> None:
        """Hold so many fewer bytes."""
        self._free += size
        left = self._held.pop(owner) - size
        if left:
            self._held[owner] = left


class Incoming:
    """The body of one request; it is read only when a handler asks for it."""

    __slots__ = ("_held", "_is_cut", "_owner", "_receive", "_room", "_scope", "is_ended")

    def __init__(self, scope: Scope, receive: Receive, room: BodyRoom) -> None:
        self._scope = scope
        self._receive = receive
        self._room = room
        self._owner = ""
        self._held = 0
        self.is_ended = False
        self._is_cut = False

    async def read(self, headers: Mapping[bytes, bytes], owner: str) -> bytes:
        """Read all of it; empty if the headers announce no body.

        Raises UnsupportedMediaType, PayloadTooLarge, Unavailable if the process has no memory for
        it, BadRequest if it breaks off, and RequestTimeout after 30 s.
        """
        length = headers.get(b"content-length")
        if length in (None, b"0") and b"transfer-encoding" not in headers:
            self.is_ended = True
            return b""
        require_readable(self._scope["method"], headers)
        if length is not None and length.isdigit() and int(length[:18]) > self._room.largest:
            raise self._too_large()
        self._owner = owner
        return await self._in_time(self._collect())

    def release(self) -> None:
        """Give its memory back."""
        if self._held:
            self._room.give_back(self._owner, self._held)
            self._held = 0

    @property
    def must_close(self) -> bool:
        """Whether the connection cannot be used again because part of the body was not read."""
        return self._is_cut or (self._is_left() and self._has(b"expect"))

    async def discard(self) -> None:
        """Read and discard the rest, up to 64 MiB and 30 s; only after the response was sent."""
        if not self._is_left() or self._has(b"expect"):
            return
        size = 0
        with suppress(TimeoutError, BadRequest):
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not self.is_ended and size <= _DISCARD_BYTES:
                    size += len(self._content(await self._receive()))

    def _is_left(self) -> bool:
        return not self.is_ended and (
            self._has(b"transfer-encoding") or self._has(b"content-length")
        )

    def _has(self, wanted: bytes) -> bool:
        return any(name == wanted for name, _ in self._scope["headers"])

    async def _collect(self) -> bytes:
        chunks: list[bytes] = []
        while not self.is_ended:
            chunk = self._content(await self._receive())
            if not chunk:  # the last message may hold no bytes
                continue
            if self._held + len(chunk) > self._room.largest:
                raise self._too_large()
            self._room.take(self._owner, len(chunk))
            self._held += len(chunk)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _content(self, message: Message) -> bytes:
        if message["type"] != "http.request":
            self.is_ended = self._is_cut = True
            raise BadRequest(
                "The body broke off: it is shorter than announced, or a chunk is malformed."
            )
        self.is_ended = not message.get("more_body", False)
        return message.get("body", b"")

    async def _in_time(self, body: Coroutine[None, None, bytes]) -> bytes:
        """Do what asyncio.timeout does, which alone would be 5 % of the cost of accepting a job."""
        task, is_late = cast("asyncio.Task[Any]", asyncio.current_task()), False

        def cut() -> None:
            nonlocal is_late
            is_late = True
            task.cancel()

        timer = asyncio.get_running_loop().call_later(_READ_SECONDS, cut)
        try:
            return await body
        except asyncio.CancelledError:
            if is_late and task.uncancel() == 0:
                self.is_ended = self._is_cut = True
                reason = f"The body did not arrive within {_READ_SECONDS:.0f} seconds."
                raise RequestTimeout(reason) from None
            raise
        finally:
            timer.cancel()

    def _too_large(self) -> PayloadTooLarge:
        self._is_cut = True
        return PayloadTooLarge(
            f"The body is larger than {self._room.largest} bytes. "
            "Upload files by GET /upload and send their URLs."
        )
