"""`gateway event`: list and follow the event feed."""

import asyncio
import json

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.api.connection import open_async_client
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.events.feed import Event, Feed
from gateway.cli.terminal.output import json_option, print_json_text, print_line, say
from gateway.cli.terminal.table import Column
from gateway.core.events import EVENT_TYPES

_COLUMNS = (
    Column("timestamp", rank=2),
    Column("type", rank=1),
    Column("tenant", rank=4),
    Column("jobId", rank=3),
    Column("id"),
)

_types = click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(EVENT_TYPES),
    help="Only events of this type.",
)


@click.group(cls=RichGroup)
def event() -> None:
    """List and follow the events of the feed."""


@event.command(name="list")
@_types
@listing_options
@with_tenant
def list_(api: Api, *, types: tuple[str, ...], wanted: ListOptions) -> None:
    """List events, oldest first; --cursor takes the id of the last event you have."""
    source = Source("/v1/event", "events", {"type": list(types)}, cursor="after")
    show_listing(api, source, wanted, _COLUMNS)


@event.command()
@_types
@click.option(
    "--after", default="", metavar="ID", help="Start after this event. Default: start now."
)
@with_tenant
@json_option
def follow(api: Api, *, types: tuple[str, ...], after: str, as_json: bool) -> None:
    """Print events as they happen, until Ctrl-C; with --json one object per line."""
    asyncio.run(_follow(api, list(types), after, as_json=as_json))


async def _follow(api: Api, types: list[str], after: str, *, as_json: bool) -> None:
    async with open_async_client(api.root, api.headers) as client:
        feed = Feed(client, types, after=after)
        welcome = asyncio.create_task(_greet(feed, api.root))
        try:
            async for one in feed.follow():
                _print(one, as_json=as_json)
        finally:
            welcome.cancel()


async def _greet(feed: Feed, root: str) -> None:
    await feed.started.wait()
    say(f"Following {root}; press Ctrl-C to stop.")


def _print(one: Event, *, as_json: bool) -> None:
    at: str = json.loads(bytes(one.timestamp))
    if not as_json:
        print_line(f"{at}  {one.type:<19}  {one.tenant:<12}  {one.job_id or '-':<36}  {one.id}")
        return
    fields = {"id": one.id, "type": one.type, "timestamp": at, "tenant": one.tenant}
    text = json.dumps({**fields, "jobId": one.job_id})
    # Print `data` as received, except for line breaks: parsing would change numbers.
    data = bytes(one.data).decode().replace("\r", " ").replace("\n", " ")
    print_json_text(f'{text[:-1]}, "data": {data}}}')
