"""`gateway credential`: tenants' keys for the upstream, through the operators' API."""

import sys
from pathlib import Path
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import json_option, show
from gateway.cli.terminal.table import Column
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret

_COLUMNS = (
    Column("version"),
    Column("baseUrl", least=20, rank=3),
    Column("inFlight", rank=4),
    Column("rejectedAt", rank=1),
    Column("rejectedReason", least=14, rank=2),
    Column("createdAt", rank=5),
)


@click.group(cls=RichGroup)
def credential() -> None:
    """Manage tenants' keys for the upstream.

    Needs an operator's key in GATEWAY_OPERATOR_KEY, and the root of the API in GATEWAY_API.
    """


@credential.command()
@click.argument("slug")
@click.option("--api-key-file", type=TEXT_FILE, help="File with the key for the upstream.")
@click.option("--base-url", help="Upstream of this tenant, such as https://host/v1.")
@with_operator
@json_option
def put(
    api: Api, *, slug: str, api_key_file: Path | None, base_url: str | None, as_json: bool
) -> None:
    """Store a new credential for a tenant, if the upstream accepts it.

    The key is asked for, or read from standard input. It is not an argument, because other users of
    this machine could see it.
    """
    body = {"apiKey": _api_key(api_key_file)}
    if base_url is not None:
        body["baseUrl"] = base_url
    versions = api.listed(_path(slug), method="PUT", body=body)
    show(versions, as_json=as_json, columns=_COLUMNS)


@credential.command(name="list")
@click.argument("slug")
@with_operator
@json_option
def list_(api: Api, *, slug: str, as_json: bool) -> None:
    """List the versions of a tenant's credential, without the keys."""
    empty = f"The tenant {slug} has no credential: `gateway credential put {slug}` stores one."
    show(api.listed(_path(slug)), as_json=as_json, columns=_COLUMNS, empty=empty)


def _path(slug: str) -> str:
    return f"/admin/v1/tenant/{quote(slug, safe='')}/credential"


def _api_key(file: Path | None) -> str:
    if file is None and sys.stdin.isatty():
        return click.prompt("Key for the upstream", hide_input=True, err=True).strip()
    key = read_secret(file or Path("-"))
    if not key:
        raise click.UsageError("Standard input has no key.")
    return key
