"""`gateway queue`: all that is still to be done."""

import click
from rich_click import RichCommand

from gateway.cli.access import with_operator
from gateway.cli.client import Api
from gateway.cli.output import head, json_option, print_table, say, show, tell


@click.command(cls=RichCommand)
@with_operator
@json_option
def queue(api: Api, *, as_json: bool) -> None:
    """Print the open jobs by state and the deliveries that are still to be made."""
    found = api.call("GET", "/admin/v1/queue")
    if as_json:
        show(found, as_json=True)
        return
    tell("Jobs")
    if found["jobs"]:
        print_table(found["jobs"], ("state", "jobs", "oldestSeconds"))
    else:
        say("No job is open.")
    head("Deliveries")
    print_table([found["deliveries"]], tuple(found["deliveries"]))
