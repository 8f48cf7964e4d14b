"""Follow the event feed from now or from an event on, without a gap, through restarts of the API."""

import asyncio
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
from msgspec import DecodeError, Raw, Struct, json

from gateway.cli.api.client import refusal
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import say
from gateway.core.events import EVENT_TYPES

RETRIED = (ExitCode.RATE_LIMITED, ExitCode.UNREACHABLE)

_WAIT_SECONDS = 20
_ANSWER_SECONDS = 45.0
_PAGE = 100
# Between pages: a busy feed is read a few times per second, not a thousand times.
_PAUSE_SECONDS = 0.1
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0
# Line ends of an event stream; `splitlines` would also split at U+2028.
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Event(Struct, rename="camel"):
    """An event; the parts of its body are kept byte for byte."""

    id: str
    type: str
    timestamp: Raw
    tenant: str
    job_id: str | None
    data: Raw

    @property
    def body(self) -> bytes:
        """Return the body of its webhook."""
        parts = (self.type.encode(), bytes(self.timestamp), bytes(self.data))
        return b'{"type":"%b","timestamp":%b,"data":%b}' % parts


class Feed:
    """Follows the feed; `started` is set after the first response, whose `date` is then `since`.

    No types means all. It reads pages by long poll, because an event stream cannot carry the line
    breaks of a body, and reads every type, so that the cursor advances with each event.
    """

    def __init__(
        self, client: httpx.AsyncClient, types: list[str], *, after: str = "", samples: bool = False
    ) -> None:
        self.started = asyncio.Event()
        self.since = datetime.now(UTC)
        self._client = client
        self._root = str(client.base_url).rstrip("/")
        self._types = frozenset(types or EVENT_TYPES)
        self._samples = samples
        self._cursor = after

    async def follow(self) -> AsyncGenerator[Event]:
        """Yield events as they happen; raises CommandError if retrying cannot help."""
        delay, is_reported = _FIRST_DELAY_SECONDS, False
        while True:
            try:
                for event in await self._next():
                    if event.type in self._types:
                        yield event
                    self._cursor = event.id
                delay, is_reported = _FIRST_DELAY_SECONDS, False
                await asyncio.sleep(_PAUSE_SECONDS)
            except (httpx.HTTPError, CommandError) as error:
                self._raise_if_final(error)
                if not is_reported:
                    say(f"Lost the API, retrying: {error or type(error).__name__}")
                is_reported = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    async def _next(self) -> list[Event]:
        """Return the next events by long poll, or none if it timed out."""
        if not self._cursor:
            self._cursor = await self._end()
        wait = _WAIT_SECONDS if self.started.is_set() else 0
        answer = await self._client.get(
            "/v1/event",
            params={
                "after": self._cursor,
                "samples": "true" if self._samples else "false",
                "size": _PAGE,
                "wait": wait,
            },
            timeout=_ANSWER_SECONDS,
        )
        if not answer.is_success:
            raise refusal(answer, self._root)
        if not self.started.is_set():
            self.since = parsedate_to_datetime(answer.headers["date"])
            self.started.set()
        try:
            return json.decode(answer.content, type=list[Event])
        except DecodeError as error:
            text = f"the server at {self._root} is not a gateway: {error}"
            raise CommandError(text, ExitCode.ERROR) from None

    async def _end(self) -> str:
        """Return the cursor of the feed's end: the first id in its event stream."""
        asking = self._client.stream("GET", "/v1/event/stream", timeout=_ANSWER_SECONDS)
        async with asking as answer:
            if not answer.is_success:
                await answer.aread()
                raise refusal(answer, self._root)
            came = b""
            async for piece in answer.aiter_bytes():
                came += piece
                for line in _LINE_END.split(came)[:-1]:
                    if line.startswith(b"id:"):
                        return line[len(b"id:") :].strip().decode()
        raise httpx.RemoteProtocolError("the stream ended before it began")

    def _raise_if_final(self, error: httpx.HTTPError | CommandError) -> None:
        if isinstance(error, CommandError) and error.code not in RETRIED:
            raise error
        if not self.started.is_set():
            if isinstance(error, CommandError):
                raise error
            text = f"{self._root} does not answer: {error or type(error).__name__}"
            raise CommandError(text, ExitCode.UNREACHABLE)
