"""`gateway listen`: print a tenant's webhooks, and forward them to a server on this machine."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.api.connection import open_async_client
from gateway.cli.events.following import Following, HeardWebhook
from gateway.cli.events.forwarding import Forwarder, ForwardTarget
from gateway.cli.events.kept_secret import kept_secret, secret_place
from gateway.cli.events.target import target_url
from gateway.cli.terminal.option_types import comma_list
from gateway.cli.terminal.output import json_option, say
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret
from gateway.core.events import EVENT_TYPES
from gateway.core.webhooks.signing import (
    InvalidSecretError,
    SigningKey,
    format_secret,
    parse_secret,
)

_AHEAD = 100
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(cls=RichCommand)
@click.option(
    "--forward-to",
    "-f",
    "target",
    help="URL to POST to, such as localhost:3000/hook or 3000. Default: webhooks are only printed.",
)
@click.option(
    "--events", "-e", "types", default="", metavar="TYPE,TYPE", help="Only events of these types."
)
@click.option("--secret", help="Sign with this secret, such as whsec_.... Default: the saved one.")
@click.option("--secret-file", type=TEXT_FILE, help="File with the secret.")
@click.option("--new-secret", is_flag=True, help="Make and save another secret.")
@with_tenant
@json_option
def listen(
    api: Api,
    *,
    target: str | None,
    types: str,
    secret: str | None,
    secret_file: Path | None,
    new_secret: bool,
    as_json: bool,
) -> None:
    """Print a tenant's webhooks as they happen, and forward them to a server on this machine.

    Needs no endpoint. It follows new events, the samples of `gateway trigger`, and resent deliveries
    until Ctrl-C, also through restarts of the API. Each webhook is signed with a secret of its own and
    sent once.
    """
    wanted = comma_list(types)
    unknown = sorted(set(wanted) - set(EVENT_TYPES))
    if unknown:
        raise click.UsageError(f"'{unknown[0]}' is not one of {', '.join(EVENT_TYPES)}.")
    given = read_secret(secret_file) if secret_file else secret
    key = _key(given) if given else None
    url = None if target is None else target_url(target)
    tenant = _tenant(api)
    greeting = [f"Listening to {api.root}{tenant and f' as {tenant}'}; press Ctrl-C to stop."]
    to = None
    if url is not None:
        key = key or kept_secret(secret_place(api.root, tenant), new=new_secret)
        to = ForwardTarget(url, key)
        greeting += [f"Forwarding to {url}", f"Signed with {format_secret(key)}"]
    asyncio.run(_listen(api, Forwarder(to, as_json=as_json), wanted, greeting))


async def _listen(
    api: Api, forwarder: Forwarder, types: list[str], greeting: Sequence[str]
) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    async with open_async_client(api.root, api.headers) as client:
        working = asyncio.create_task(_work(Following(client, types), forwarder, greeting))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            await asyncio.wait({working})
    if not working.cancelled():
        working.result()
    say(forwarder.summary)


async def _work(following: Following, forwarder: Forwarder, greeting: Sequence[str]) -> None:
    waiting = asyncio.Queue[HeardWebhook](_AHEAD)
    await asyncio.gather(
        forwarder.run(waiting),
        _collect(following.live(), waiting),
        _collect(following.again(), waiting),
        _greet(following, greeting),
    )


async def _collect(
    webhooks: AsyncGenerator[HeardWebhook], waiting: "asyncio.Queue[HeardWebhook]"
) -> None:
    async with aclosing(webhooks):
        async for webhook in webhooks:
            await waiting.put(webhook)


async def _greet(following: Following, greeting: Sequence[str]) -> None:
    await following.started.wait()
    for line in greeting:
        say(line)


def _tenant(api: Api) -> str:
    """Return the tenant of the webhooks; empty for several tenants."""
    return api.tenant or api.call("GET", "/v1/whoami")["tenant"] or ""


def _key(secret: str) -> SigningKey:
    try:
        return parse_secret(secret)
    except InvalidSecretError as error:
        raise click.UsageError(f"The secret cannot be used: {error}.") from None
