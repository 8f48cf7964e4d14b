"""`gateway listen`: a tenant's webhooks, forwarded to a server on this machine."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
from rich_click import RichCommand

from gateway.cli.access import with_tenant
from gateway.cli.client import Api
from gateway.cli.following import Following, Webhook
from gateway.cli.output import json_option, say, tell
from gateway.cli.texts import TEXT_FILE, read_secret
from gateway.cli.values import comma_list
from gateway.core.events import EVENT_TYPES
from gateway.core.printable import printable, printable_json
from gateway.core.signing import (
    InvalidSecretError,
    SigningKey,
    format_secret,
    parse_secret,
    sign,
)
from gateway.webhooks import MIN_SECRET_BYTES, HmacKey

_TIMEOUT_SECONDS = 15.0
_AHEAD = 100
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(cls=RichCommand)
@click.option("--forward-to", "url", required=True, help="Where to POST them.")
@click.option("--events", "types", default="", metavar="TYPE,TYPE", help="Only these types.")
@click.option("--secret", help="Sign with this one, such as whsec_...; else one is made.")
@click.option("--secret-file", type=TEXT_FILE, help="File with the secret, instead.")
@with_tenant
@json_option
def listen(
    api: Api,
    *,
    url: str,
    types: str,
    secret: str | None,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Forward a tenant's webhooks to a server on this machine.

    Needs no endpoint: follows all that happens from now on, and deliveries that are sent again,
    until Ctrl-C. Each is signed anew and sent once. Restarts of the API are survived without a gap.
    """
    _check_url(url)
    wanted = comma_list(types)
    unknown = sorted(set(wanted) - set(EVENT_TYPES))
    if unknown:
        raise click.UsageError(f"'{unknown[0]}' is not one of {', '.join(EVENT_TYPES)}.")
    given = read_secret(secret_file) if secret_file else secret
    key = _key(given) if given else HmacKey(os.urandom(MIN_SECRET_BYTES))
    if not given:
        say(f"Signed with {format_secret(key)}")
    asyncio.run(_listen(api, Forwarder(url, key, as_json=as_json), wanted))


class Forwarder:
    """Signs, posts and prints, one after the other."""

    def __init__(self, url: str, key: SigningKey, *, as_json: bool) -> None:
        self.counts = Counter[str]()
        self._url = url
        self._key = key
        self._as_json = as_json
        self._client = httpx.AsyncClient(timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def run(self, waiting: "asyncio.Queue[Webhook]") -> None:
        """Forward what comes until cancelled."""
        async with self._client:
            while True:
                await self._forward(await waiting.get())

    async def _forward(self, webhook: Webhook) -> None:
        started, now = time.perf_counter(), int(time.time())
        headers = {
            "content-type": "application/json",
            "webhook-id": webhook.id,
            "webhook-timestamp": str(now),
            "webhook-signature": sign([self._key], webhook.id, now, webhook.body),
        }
        status, error = None, None
        try:
            answer = await self._client.post(self._url, content=webhook.body, headers=headers)
            status = answer.status_code
        except httpx.HTTPError as failure:
            error = str(failure) or type(failure).__name__
        is_taken = status is not None and httpx.codes.is_success(status)
        self.counts["forwarded" if is_taken else "failed"] += 1
        self.counts["again"] += webhook.again
        self._show(webhook, status, error, round((time.perf_counter() - started) * 1000, 1))

    def _show(self, webhook: Webhook, status: int | None, error: str | None, ms: float) -> None:
        now = datetime.now().astimezone()
        if self._as_json:
            fields = {
                "time": now.isoformat(timespec="milliseconds"),
                "type": webhook.type,
                "id": webhook.id,
                "jobId": webhook.job_id,
                "again": webhook.again,
                "status": status,
                "error": error,
                "ms": ms,
            }
            tell(printable_json(json.dumps(fields, ensure_ascii=False)))
            return
        is_taken = status is not None and httpx.codes.is_success(status)
        said = click.style(f"{status or 'failed':<6}", fg="green" if is_taken else "red")
        what = f"{webhook.type:<19}  {webhook.id}  {webhook.job_id or '-':<36}"
        more = " ".join(filter(None, ("again" if webhook.again else "", error)))
        line = f"{now:%H:%M:%S}  {printable(what)}  {said}  {ms:g} ms  {printable(more)}"
        click.echo(line.rstrip())


async def _listen(api: Api, forwarder: Forwarder, types: list[str]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with httpx.AsyncClient(base_url=api.root, headers=api.headers) as client:
        working = asyncio.create_task(_work(Following(client, types), forwarder, api.root))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
    if not working.cancelled():
        working.result()
    counts = forwarder.counts
    say(
        f"{counts['forwarded']} taken, {counts['failed']} not taken; "
        f"{counts['again']} of them sent again."
    )


async def _work(following: Following, forwarder: Forwarder, root: str) -> None:
    waiting = asyncio.Queue[Webhook](_AHEAD)
    await asyncio.gather(
        forwarder.run(waiting),
        _collect(following.live(), waiting),
        _collect(following.again(), waiting),
        _welcome(following, root),
    )


async def _collect(webhooks: AsyncGenerator[Webhook], waiting: "asyncio.Queue[Webhook]") -> None:
    async with aclosing(webhooks):
        async for webhook in webhooks:
            await waiting.put(webhook)


async def _welcome(following: Following, root: str) -> None:
    await following.started.wait()
    say(f"Listening to {root}; Ctrl-C ends it.")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise click.UsageError(f"{url} is not a URL such as http://localhost:3000/hook.")


def _key(secret: str) -> SigningKey:
    try:
        return parse_secret(secret)
    except InvalidSecretError as error:
        raise click.UsageError(f"The secret cannot be used: {error}.") from None
