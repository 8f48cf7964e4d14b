"""`gateway whoami`: the key in use, where it is used, and what it may do."""

from pathlib import Path

import click
from rich_click import RichCommand

from gateway.cli.api.access import access_options, any_access
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import json_option, show


@click.command(cls=RichCommand)
@click.option("--operator", is_flag=True, help="Show the operator's key instead of the tenant's.")
@access_options
@json_option
def whoami(
    *,
    operator: bool,
    api: str | None,
    key_file: Path | None,
    tenant: str | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Show the key in use, its kind, tenant and scopes, and the API's address and version.

    This is the key that other commands use: GATEWAY_ACCESS_KEY, or GATEWAY_OPERATOR_KEY if only that
    is set.
    """
    access = any_access(api, key_file, tenant, data_dir, operator=operator)
    with Api(access) as opened:
        found = opened.call("GET", "/v1/whoami")
    show(
        {"api": access.root, "actsFor": access.tenant or found["tenant"], **found}, as_json=as_json
    )
