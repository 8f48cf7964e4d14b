"""`gateway queue`: all that is still to be done."""

from typing import Any

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import head, json_option, print_table, show, tell
from gateway.cli.terminal.table import Column

_COLUMNS = ("queue", "due", "oldestSeconds", "deferred", Column("why", least=20, rank=1))


@click.command(cls=RichCommand)
@with_operator
@json_option
def queue(api: Api, *, as_json: bool) -> None:
    """Print what is still to be done: what may go now, and what is held back and why."""
    found = api.call("GET", "/admin/v1/queue")
    if as_json:
        show(found, as_json=True)
        return
    tell("Jobs")
    print_table(found["jobs"], ("state", "jobs"))
    head("Queues")
    print_queues(found["queues"])
    head("Workers")
    print_table([found["workers"]], tuple(found["workers"]))


def print_queues(queues: list[dict[str, Any]]) -> None:
    """Print a line for each queue, with the reasons of what is held back."""
    rows = [
        {**one, "why": ", ".join(f"{reason} {rows}" for reason, rows in one["held"].items())}
        for one in queues
    ]
    print_table(rows, _COLUMNS)
