"""`gateway audit`: who did what."""

import click
from rich_click import RichCommand

from gateway.cli.access import with_operator
from gateway.cli.client import Api
from gateway.cli.listing import Source, Wanted, listing_options, show_listing
from gateway.cli.table import Column

_COLUMNS = (
    Column("at"),
    Column("action"),
    Column("subject", least=10, rank=1),
    Column("keyId", rank=2),
    Column("detail", least=20, rank=3),
)


@click.command(cls=RichCommand)
@listing_options
@with_operator
def audit(api: Api, *, wanted: Wanted) -> None:
    """List administrative acts, newest first: what was done to what, and with which key."""
    show_listing(api, Source("/admin/v1/audit", size="limit"), wanted, _COLUMNS)
