"""Follow a tenant's webhooks as they happen: new events, and deliveries that are sent again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import httpx

from gateway.cli.api.client import refusal
from gateway.cli.events.feed import RETRIED, Feed
from gateway.cli.terminal.failures import CommandError
from gateway.cli.terminal.output import say

_LOOK_SECONDS = 1.0
# Resends are found by the start of their transaction; transactions may commit in another order.
_OVERLAP = timedelta(seconds=10)


class HeardWebhook(NamedTuple):
    """A webhook to forward; `again` if it is a resend."""

    id: str
    type: str
    job_id: str | None
    body: bytes
    again: bool = False


class Following:
    """Follows webhooks through restarts of the API; `started` is set after the first response."""

    def __init__(self, client: httpx.AsyncClient, types: list[str]) -> None:
        self._feed = Feed(client, types, samples=True)
        self.started = self._feed.started
        self._client = client
        self._root = str(client.base_url).rstrip("/")
        self._types = types

    async def live(self) -> AsyncGenerator[HeardWebhook]:
        """Yield new events from now on, without a gap; raises CommandError if retrying cannot help."""
        async with aclosing(self._feed.follow()) as events:
            async for event in events:
                yield HeardWebhook(event.id, event.type, event.job_id, event.body)

    async def again(self) -> AsyncGenerator[HeardWebhook]:
        """Yield deliveries that are sent again from now on; ends if the key may not read them."""
        await self.started.wait()
        start = latest = self._feed.since
        seen = set[tuple[str, str]]()
        while True:
            try:
                found = await self._resent(max(start, latest - _OVERLAP))
                latest = max([latest, *(datetime.fromisoformat(one["resentAt"]) for one in found)])
                new = [one for one in found if (one["id"], one["resentAt"]) not in seen]
                for one in sorted(new, key=lambda one: str(one["resentAt"])):
                    yield await self._webhook(one["id"])
                seen = {(one["id"], one["resentAt"]) for one in found}
            except httpx.HTTPError:
                pass  # `live` reports that the API is away
            except CommandError as error:
                if error.code not in RETRIED:
                    say(f"Resent deliveries are not followed: {error.message}")
                    return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _resent(self, since: datetime) -> list[dict[str, Any]]:
        params = {"resentAfter": since.isoformat(), "event": self._types, "size": 1000}
        return await self._read("/v1/delivery", params)

    async def _webhook(self, delivery_id: str) -> HeardWebhook:
        found = await self._read(f"/v1/delivery/{delivery_id}")
        body = found["requestBody"].encode()
        return HeardWebhook(found["eventId"], found["type"], found["jobId"], body, again=True)

    async def _read(self, path: str, params: dict[str, Any] | None = None) -> Any:  # noqa: ANN401
        answer = await self._client.get(path, params=params)
        if not answer.is_success:
            raise refusal(answer, self._root)
        return answer.json()
