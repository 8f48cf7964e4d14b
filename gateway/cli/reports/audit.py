"""`gateway audit`: administrative actions."""

import click
from rich_click import RichCommand

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.terminal.option_types import moment
from gateway.cli.terminal.table import Column

_COLUMNS = (
    Column("at"),
    Column("action"),
    Column("subject", least=10, rank=1),
    Column("keyName", rank=2),
    Column("keyId", rank=3),
    Column("detail", least=20, rank=4),
)


@click.command(cls=RichCommand)
@click.option("--tenant", metavar="SLUG", help="Only actions on this tenant.")
@click.option("--action", multiple=True, help="Only this action, such as tenant.changed.")
@click.option("--actor", multiple=True, help="Only actions by this key: its id or its name.")
@click.option("--since", type=moment, help="At or after: 2h (ago), a date, or a time.")
@click.option("--until", type=moment, help="Before.")
@listing_options
@with_operator
def audit(
    api: Api,
    *,
    tenant: str | None,
    action: tuple[str, ...],
    actor: tuple[str, ...],
    since: str | None,
    until: str | None,
    wanted: ListOptions,
) -> None:
    """List administrative actions, newest first: the action, its subject, and the key used."""
    given = {
        "tenant": tenant,
        "action": action,
        "actor": actor,
        "createdAfter": since,
        "createdBefore": until,
    }
    params = {name: value for name, value in given.items() if value}
    show_listing(api, Source("/admin/v1/audit", "entries", params), wanted, _COLUMNS)
