"""Bulk operations as commands begin and follow them."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click

from gateway.cli.client import Api
from gateway.cli.output import confirm, say, show, yes_option

_PAUSE_SECONDS = 0.5
_RUNNING = "running"
_STATUSES = ("pending", "exhausted", "parked", "delivered")

_dry_run = click.option("--dry-run", is_flag=True, help="Only count them.")
_wait = click.option("--wait", is_flag=True, help="Wait until all is handed to the workers.")


class Words(NamedTuple):
    """How an operation is told of: `Send {}?` with the count in its place, and `Nothing to send`."""

    question: str
    nothing: str
    one: str = "delivery"
    many: str = "deliveries"

    def counting(self, number: int) -> str:
        """Such as 7 deliveries."""
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
    """Begin an operation once it is confirmed, and print it; a dry run prints how much it would do.

    Begins none where there is nothing to do, and says so.
    """
    counted = api.call("POST", path, {**body, "dryRun": True})
    told = _told(counted, words)
    if dry_run or not counted["count"]:
        show(counted, as_json=as_json)
        say(f"{told if counted['count'] else words.nothing}.")
    else:
        confirm(words.question.format(told), yes=yes)
        begun = api.call("POST", path, body)
        ended = _ended(api, begun) if wait else begun
        show(ended, as_json=as_json)
        say(_progress(ended, words))
    if counted.get("disabled"):
        say(f"Left out for disabled endpoints: {counted['disabled']}. Enable those first.")


def _told(counted: dict[str, Any], words: Words) -> str:
    """How many there are and how they stand: 7 deliveries (6 pending, 1 exhausted)."""
    statuses: dict[str, int] = counted.get("statuses", {})
    parts = ", ".join(f"{statuses[one]} {one}" for one in _STATUSES if one in statuses)
    return words.counting(counted["count"]) + (f" ({parts})" if parts else "")


def _progress(operation: dict[str, Any], words: Words) -> str:
    if operation["state"] == _RUNNING:
        return f"The workers deal with {words.counting(operation['total'])} now."
    return f"Handed to the workers: {operation['done']} of {words.counting(operation['total'])}."


def _ended(api: Api, operation: dict[str, Any]) -> dict[str, Any]:
    while operation["state"] == _RUNNING:
        say(f"{operation['done']} of {operation['total']} ...")
        time.sleep(_PAUSE_SECONDS)
        operation = api.call("GET", f"/v1/bulk/{operation['id']}")
    return operation
