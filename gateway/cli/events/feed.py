"""The feed of events as a command follows it: from now on or a place, through restarts, without a gap."""

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

LASTING = (ExitCode.RATE_LIMITED, ExitCode.UNREACHABLE)

_WAIT_SECONDS = 20
_ANSWER_SECONDS = 45.0
_PAGE = 100
# Between full answers: who waits for a busy feed asks a few times a second, and not a thousand.
_PAUSE_SECONDS = 0.1
_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 10.0
# Lines of an event stream end so, and nowhere else; U+2028 is no end.
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Event(Struct, rename="camel"):
    """An event with the parts of its body as they came, byte for byte."""

    id: str
    type: str
    timestamp: Raw
    tenant: str
    job_id: str | None
    data: Raw

    @property
    def body(self) -> bytes:
        """The body of its webhook."""
        parts = (self.type.encode(), bytes(self.timestamp), bytes(self.data))
        return b'{"type":"%b","timestamp":%b,"data":%b}' % parts


class Feed:
    """Follows the feed; `started` is set once it does, and `since` says when, by the API's clock.

    No types means all of them. It asks page by page, since an event stream cannot carry the line
    breaks of a body, and for every type, so that the place moves on whatever happens.
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
        self._place = after

    async def follow(self) -> AsyncGenerator[Event]:
        """Events as they happen; raises CommandError where there is no hope."""
        delay, is_told = _FIRST_DELAY_SECONDS, False
        while True:
            try:
                for event in await self._next():
                    if event.type in self._types:
                        yield event
                    self._place = event.id
                delay, is_told = _FIRST_DELAY_SECONDS, False
                await asyncio.sleep(_PAUSE_SECONDS)
            except (httpx.HTTPError, CommandError) as error:
                self._raise_if_final(error)
                if not is_told:
                    say(f"Lost the API, trying again: {error or type(error).__name__}")
                is_told = True
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY_SECONDS)

    async def _next(self) -> list[Event]:
        """The events that are next, once there are any, or none when it took too long."""
        if not self._place:
            self._place = await self._end()
        wait = _WAIT_SECONDS if self.started.is_set() else 0
        answer = await self._client.get(
            "/v1/event",
            params={
                "after": self._place,
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
            text = f"what answers at {self._root} is not a gateway: {error}"
            raise CommandError(text, ExitCode.ERROR) from None

    async def _end(self) -> str:
        """Where the feed ends now: the first id that its stream tells."""
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
        if isinstance(error, CommandError) and error.code not in LASTING:
            raise error
        if not self.started.is_set():
            if isinstance(error, CommandError):
                raise error
            text = f"{self._root} does not answer: {error or type(error).__name__}"
            raise CommandError(text, ExitCode.UNREACHABLE)
