"""Bulk operations as commands begin and follow them."""

import time
from collections.abc import Callable
from typing import Any

import click

from gateway.cli.client import Api
from gateway.cli.output import confirm, say, show, yes_option

_PAUSE_SECONDS = 0.5
_RUNNING = "running"

_dry_run = click.option("--dry-run", is_flag=True, help="Only count them.")
_wait = click.option("--wait", is_flag=True, help="Wait until all is handed on.")


def operation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --dry-run, --yes and --wait."""
    return _dry_run(yes_option(_wait(command)))


def begin(
    api: Api,
    path: str,
    body: dict[str, Any],
    question: str = "Send {count} deliveries?",
    /,
    *,
    dry_run: bool,
    yes: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Begin an operation once it is confirmed, and print it; a dry run prints how much it would do.

    The question is asked with the count in its place.
    """
    if dry_run or not yes:
        counted = api.call("POST", path, {**body, "dryRun": True})
        if dry_run:
            show(counted, as_json=as_json)
            return
        confirm(question.format(count=counted["count"]), yes=yes)
    begun = api.call("POST", path, body)
    show(_ended(api, begun) if wait else begun, as_json=as_json)


def _ended(api: Api, operation: dict[str, Any]) -> dict[str, Any]:
    while operation["state"] == _RUNNING:
        say(f"{operation['done']} of {operation['total']} ...")
        time.sleep(_PAUSE_SECONDS)
        operation = api.call("GET", f"/v1/bulk/{operation['id']}")
    return operation
