"""`gateway workflow`: the workflows that a job may name."""

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import json_option, print_table, show
from gateway.cli.terminal.table import Column

_PAGE = 1000
_COLUMNS = (
    Column("slug"),
    Column("name", least=15, rank=1),
    Column("id", rank=3),
    Column("description", least=20, rank=2),
)


@click.group(cls=RichGroup)
def workflow() -> None:
    """List the workflows that a job may name."""


@workflow.command(name="list")
@with_tenant
@json_option
def list_(api: Api, *, as_json: bool) -> None:
    """List the workflows of a tenant's upstream account."""
    found: list[dict[str, object]] = []
    page = None
    while page is None or len(page) == _PAGE:
        number = len(found) // _PAGE
        page = api.call("GET", "/v1/workflow", params={"page": number, "size": _PAGE})["workflows"]
        found += page
    if as_json:
        show({"workflows": found}, as_json=True)
        return
    names = {name for row in found for name in row}
    columns = [column for column in _COLUMNS if column.path in names]
    print_table(found, columns, empty="There are no workflows.")
