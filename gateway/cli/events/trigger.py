"""`gateway trigger`: sample events, sent at once, with what came of each."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.terminal.failures import CommandError
from gateway.cli.terminal.output import json_option, say, show
from gateway.cli.terminal.table import Column
from gateway.core.events import EVENT_TYPES, TEST_PING

_COLUMNS = (
    Column("url", least=20),
    Column("delivered"),
    Column("response.status"),
    Column("durationMs", rank=3),
    Column("errorClass", rank=1),
    Column("detail", least=10, rank=2),
)
_HINT = "`gateway endpoint create URL` makes one."


@click.command(cls=RichCommand)
@click.argument("kind", metavar="TYPE", type=click.Choice(EVENT_TYPES))
@click.option("--endpoint", "wanted", multiple=True, metavar="ID", help="Only to this endpoint.")
@with_tenant
@json_option
def trigger(api: Api, *, kind: str, wanted: tuple[str, ...], as_json: bool) -> None:
    """Send a sample event to the endpoints that ask for it, and to `gateway listen`.

    test.ping goes to all of them. Each is tried once, also a disabled one that is named, and what
    came of it is printed. The exit status is 1 when any of them did not take it.
    """
    targets = [_named(api, one) for one in wanted] or list(_asking(api, kind))
    if not wanted:
        made = api.call("POST", "/v1/event/test", {"type": kind})
        say(f"Whoever runs `gateway listen` gets the event {made['id']}.")
    if not targets:
        say(f"No endpoint asks for {kind}. {_HINT}")
        return
    results = [_tried(api, target, kind) for target in targets]
    show(results, as_json=as_json, columns=_COLUMNS)
    failed = sum(not one["delivered"] for one in results)
    if failed:
        raise CommandError(
            f"{failed} of {len(results)} did not take it",
            hint="`gateway webhook get ID` shows all that was sent and what came back.",
        )


def _asking(api: Api, kind: str) -> Iterator[dict[str, Any]]:
    for page in api.pages("/v1/endpoint"):
        for one in page:
            asks = not one["events"] or kind in one["events"] or kind == TEST_PING
            if asks and not one["disabled"]:
                yield one


def _named(api: Api, endpoint_id: str) -> dict[str, Any]:
    return api.call("GET", f"/v1/endpoint/{quote(endpoint_id, safe='')}")


def _tried(api: Api, endpoint: dict[str, Any], kind: str) -> dict[str, Any]:
    result = api.call("POST", f"/v1/endpoint/{endpoint['id']}/test", {"type": kind})
    return {"endpointId": endpoint["id"], "url": endpoint["url"], **result}
