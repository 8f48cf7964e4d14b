"""`gateway trigger`: send sample events at once, and print each response."""

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
@click.option(
    "--endpoint", "wanted", multiple=True, metavar="ID", help="Send only to this endpoint."
)
@with_tenant
@json_option
def trigger(api: Api, *, kind: str, wanted: tuple[str, ...], as_json: bool) -> None:
    """Send a sample event to the subscribed endpoints, and to `gateway listen`.

    test.ping is sent to all endpoints. Each endpoint gets one attempt, a disabled one only if it is
    named. The exit status is 1 if any of them did not accept it.
    """
    targets = [_named(api, one) for one in wanted] or list(_subscribed(api, kind))
    if not wanted:
        made = api.call("POST", "/v1/event/test", {"type": kind})
        say(f"Every running `gateway listen` gets the event {made['id']}.")
    if not targets:
        say(f"No endpoint is subscribed to {kind}. {_HINT}")
        return
    results = [_send(api, target, kind) for target in targets]
    show(results, as_json=as_json, columns=_COLUMNS)
    failed = sum(not one["delivered"] for one in results)
    if failed:
        raise CommandError(
            f"{failed} of {len(results)} endpoints did not accept it",
            hint="`gateway webhook get ID` shows the request and the response.",
        )


def _subscribed(api: Api, kind: str) -> Iterator[dict[str, Any]]:
    for page in api.pages("/v1/endpoint"):
        for one in page:
            subscribed = not one["events"] or kind in one["events"] or kind == TEST_PING
            if subscribed and not one["disabled"]:
                yield one


def _named(api: Api, endpoint_id: str) -> dict[str, Any]:
    return api.call("GET", f"/v1/endpoint/{quote(endpoint_id, safe='')}")


def _send(api: Api, endpoint: dict[str, Any], kind: str) -> dict[str, Any]:
    result = api.call("POST", f"/v1/endpoint/{endpoint['id']}/test", {"type": kind})
    return {"endpointId": endpoint["id"], "url": endpoint["url"], **result}
