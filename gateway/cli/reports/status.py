"""`gateway status`: the state of the whole gateway."""

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.reports.queue import print_queues
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import (
    json_option,
    print_fields,
    print_heading,
    print_line,
    print_table,
    show,
)
from gateway.cli.terminal.table import Column

_PROCESSES = (
    Column("kind"),
    Column("state"),
    Column("lastHeartbeatAt"),
    Column("host", least=8, rank=1),
    Column("pid", rank=2),
    Column("version", rank=1),
    Column("lastDid", least=10, rank=3),
    Column("startedAt", rank=4),
)


@click.command(cls=RichCommand)
@with_operator
@json_option
def status(api: Api, *, as_json: bool) -> None:
    """Show the state of the whole gateway: every process, Postgres, Redis, and the queues.

    The exit status is 1 if there is a problem.
    """
    found = api.call("GET", "/admin/v1/status")
    if as_json:
        show(found, as_json=True)
    else:
        print_line(f"Status: {found['status']}")
        for one in found["problems"]:
            print_line(f"{one['code']}: {one['message']}")
        print_heading("Servers")
        rounds = ("feedLagSeconds", "lastSweepSeconds", "lastPruneSeconds")
        servers = [(name, found[name]["status"]) for name in ("postgres", "redis")]
        print_fields([*servers, *((name, found[name]) for name in rounds)])
        if found["processes"] is not None:
            print_heading("Processes")
            print_table(found["processes"], _PROCESSES)
            print_heading("Queues")
            print_queues(found["queue"]["queues"])
    if found["status"] != "ok":
        count = len(found["problems"])
        raise CommandError(
            f"the gateway is {found['status']}: {count} problem{'s' if count > 1 else ''}",
            ExitCode.ERROR,
            "docs/metrics.md explains what to do about each code.",
        )
