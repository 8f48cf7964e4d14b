"""Bulk operations: other commands start them, and `gateway bulk` follows and stops them."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.terminal.output import confirm, json_option, say, show, yes_option
from gateway.cli.terminal.table import Column

_PAUSE_SECONDS = 0.5
_RUNNING = "running"
_STATUSES = ("pending", "exhausted", "parked", "delivered")

_COLUMNS = (
    Column("id"),
    Column("kind", rank=1),
    Column("state"),
    Column("done"),
    Column("total"),
    Column("endpointId", rank=5),
    Column("createdAt", rank=2),
    Column("completedAt", rank=3),
)

_id = click.argument("operation_id", metavar="ID")
_dry_run = click.option("--dry-run", is_flag=True, help="Only count what would be done.")
_wait = click.option("--wait", is_flag=True, help="Wait until all of it is handed to the workers.")


class Words(NamedTuple):
    """The texts of an operation: the question, such as `Send {}?`, the text for none, and the nouns."""

    question: str
    nothing: str
    one: str = "delivery"
    many: str = "deliveries"

    def counting(self, number: int) -> str:
        """Return a count with its noun, such as 7 deliveries."""
        return f"{number} {self.one if number == 1 else self.many}"


def operation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --dry-run, --yes and --wait."""
    return _dry_run(yes_option(_wait(command)))


def begin(
    api: Api,
    path: str,
    body: dict[str, Any],
    words: Words,
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Count, ask for confirmation, start an operation and print it; a dry run only counts.

    If there is nothing to do, it starts none and says so.
    """
    counted = api.call("POST", path, {**body, "dryRun": True})
    summary = _summary(counted, words)
    if dry_run or not counted["count"]:
        show(counted, as_json=as_json)
        say(f"{summary if counted['count'] else words.nothing}.")
    else:
        confirm(words.question.format(summary), yes=yes)
        started = api.call("POST", path, body)
        ended = _ended(api, started) if wait else started
        show(ended, as_json=as_json)
        say(_progress(ended, words))
    if counted.get("disabled"):
        say(
            f"Left out because their endpoint is disabled: {counted['disabled']}. Enable the endpoint first."
        )


def _summary(counted: dict[str, Any], words: Words) -> str:
    """Return the count with a count per state: 7 deliveries (6 pending, 1 exhausted)."""
    statuses: dict[str, int] = counted.get("statuses", {})
    parts = ", ".join(f"{statuses[one]} {one}" for one in _STATUSES if one in statuses)
    return words.counting(counted["count"]) + (f" ({parts})" if parts else "")


def _progress(operation: dict[str, Any], words: Words) -> str:
    if operation["state"] == _RUNNING:
        return f"The workers are processing {words.counting(operation['total'])}."
    return f"Handed to the workers: {operation['done']} of {words.counting(operation['total'])}."


def _ended(api: Api, operation: dict[str, Any]) -> dict[str, Any]:
    while operation["state"] == _RUNNING:
        say(f"{operation['done']} of {operation['total']} ...")
        time.sleep(_PAUSE_SECONDS)
        operation = api.call("GET", _path(operation["id"]))
    return operation


@click.group(cls=RichGroup)
def bulk() -> None:
    """Follow and stop bulk operations.

    `job retry`, `job cancel`, `webhook resend` and `webhook recover` start them.
    """


@bulk.command(name="list")
@listing_options
@with_tenant
def list_(api: Api, *, wanted: ListOptions) -> None:
    """List bulk operations, newest first."""
    show_listing(api, Source("/v1/bulk", "bulk operations"), wanted, _COLUMNS)


@bulk.command()
@_id
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@with_tenant
@json_option
def get(api: Api, *, operation_id: str, wait: bool, as_json: bool) -> None:
    """Print a bulk operation and its progress."""
    found = api.call("GET", _path(operation_id))
    show(_ended(api, found) if wait else found, as_json=as_json)


@bulk.command()
@_id
@with_tenant
@json_option
def stop(api: Api, *, operation_id: str, as_json: bool) -> None:
    """Stop a bulk operation; what it has done stays done."""
    show(api.call("POST", f"{_path(operation_id)}/stop"), as_json=as_json)


def _path(operation_id: str) -> str:
    return f"/v1/bulk/{quote(operation_id, safe='')}"
