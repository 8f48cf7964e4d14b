"""A tenant's webhooks as they happen: its feed, and deliveries that are sent again."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import httpx
from msgspec import Raw, Struct, json

from gateway.cli.client import refusal
from gateway.cli.failures import CommandError, ExitCode
from gateway.cli.output import say

_RETRY_SECONDS = 1.0
# The stream has a sign of life every 15 seconds.
_SILENCE_SECONDS = 45.0
_LOOK_SECONDS = 1.0
# Who is sent again is found by when its transaction began, which may end in another order.
_OVERLAP = timedelta(seconds=10)
_LASTING = (ExitCode.RATE_LIMITED, ExitCode.UNREACHABLE)


class Webhook(NamedTuple):
    """One to be forwarded; `again` where it is sent another time."""

    id: str
    type: str
    job_id: str | None
    body: bytes
    again: bool = False


class _Event(Struct, rename="camel"):
    id: str
    type: str
    timestamp: Raw
    job_id: str | None
    data: Raw


class Following:
    """Follows the feed through restarts of the API; `started` is set once it does."""

    def __init__(self, client: httpx.AsyncClient, types: list[str]) -> None:
        self.started = asyncio.Event()
        self._client = client
        self._root = str(client.base_url).rstrip("/")
        self._types = types
        self._last = ""
        self._since = datetime.now(UTC)

    async def live(self) -> AsyncGenerator[Webhook]:
        """What happens from now on, without a gap; raises CommandError where there is no hope."""
        is_told = False
        while True:
            try:
                async with aclosing(self._stream()) as stream:
                    async for one in stream:
                        is_told = False
                        yield one
            except (httpx.HTTPError, CommandError) as error:
                self._raise_if_final(error)
                if not is_told:
                    say(f"Lost the API, trying again: {error or type(error).__name__}")
                is_told = True
            await asyncio.sleep(_RETRY_SECONDS)

    async def again(self) -> AsyncGenerator[Webhook]:
        """Deliveries that somebody sends again from now on; ends where that may not be seen."""
        await self.started.wait()
        start, seen = self._since, set[tuple[str, str]]()
        while True:
            try:
                found = await self._resent(max(start, self._since - _OVERLAP))
                new = [one for one in found if (one["id"], one["resentAt"]) not in seen]
                for one in sorted(new, key=lambda one: str(one["resentAt"])):
                    yield await self._webhook(one["id"])
                seen = {(one["id"], one["resentAt"]) for one in found}
            except httpx.HTTPError:
                pass  # the other one tells
            except CommandError as error:
                if error.code not in _LASTING:
                    say(f"Deliveries that are sent again are not followed: {error.message}")
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _stream(self) -> AsyncGenerator[Webhook]:
        headers = {"Last-Event-ID": self._last} if self._last else {}
        timeout = httpx.Timeout(_SILENCE_SECONDS)
        asking = self._client.stream(
            "GET",
            "/v1/event/stream",
            params={"type": self._types},
            headers=headers,
            timeout=timeout,
        )
        async with asking as answer:
            if not answer.is_success:
                await answer.aread()
                raise refusal(answer, self._root)
            if not self.started.is_set():
                self._since = parsedate_to_datetime(answer.headers["date"])
                self.started.set()
            async for event in _events(answer.aiter_lines()):
                self._last = event["id"]
                if "data" in event:
                    yield _webhook_of(event["data"])

    async def _resent(self, since: datetime) -> list[dict[str, Any]]:
        params = {"resentAfter": since.isoformat(), "event": self._types, "size": 1000}
        found = await self._read("/v1/delivery", params)
        at = [datetime.fromisoformat(one["resentAt"]) for one in found]
        self._since = max([self._since, *at])
        return found

    async def _webhook(self, delivery_id: str) -> Webhook:
        found = await self._read(f"/v1/delivery/{delivery_id}")
        body = found["requestBody"].encode()
        return Webhook(found["eventId"], found["type"], found["jobId"], body, again=True)

    async def _read(self, path: str, params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        answer = await self._client.get(path, params=params)
        if not answer.is_success:
            raise refusal(answer, self._root)
        return answer.json()

    def _raise_if_final(self, error: httpx.HTTPError | CommandError) -> None:
        if isinstance(error, CommandError) and error.code not in _LASTING:
            raise error
        if not self.started.is_set():
            if isinstance(error, CommandError):
                raise error
            text = f"{self._root} does not answer: {error or type(error).__name__}"
            raise CommandError(text, ExitCode.UNREACHABLE)


async def _events(lines: AsyncIterator[str]) -> AsyncGenerator[dict[str, str]]:
    fields: dict[str, str] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if name != ":" and name:
            fields[name] = value
        elif "id" in fields:
            yield fields
            fields = {}


def _webhook_of(line: str) -> Webhook:
    event = json.decode(line, type=_Event)
    body = b'{"type":"%b","timestamp":%b,"data":%b}' % (
        event.type.encode(),
        bytes(event.timestamp),
        bytes(event.data),
    )
    return Webhook(event.id, event.type, event.job_id, body)
