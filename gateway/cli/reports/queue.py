"""`gateway queue`: the backlog."""

from typing import Any

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import json_option, print_heading, print_line, print_table, show
from gateway.cli.terminal.table import Column

_COLUMNS = ("queue", "due", "oldestSeconds", "deferred", Column("why", least=20, rank=1))


@click.command(cls=RichCommand)
@with_operator
@json_option
def queue(api: Api, *, as_json: bool) -> None:
    """Show the backlog: which rows are due, and which are held back and why."""
    found = api.call("GET", "/admin/v1/queue")
    if as_json:
        show(found, as_json=True)
        return
    print_line("Jobs")
    print_table(found["jobs"], ("state", "jobs"))
    print_heading("Queues")
    print_queues(found["queues"])
    print_heading("Workers")
    print_table([found["workers"]], tuple(found["workers"]))


def print_queues(queues: list[dict[str, Any]]) -> None:
    """Print one line per queue, with the reasons for held rows."""
    rows = [
        {**one, "why": ", ".join(f"{reason} {rows}" for reason, rows in one["held"].items())}
        for one in queues
    ]
    print_table(rows, _COLUMNS)
