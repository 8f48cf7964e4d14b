"""`gateway endpoint`: where a tenant's webhooks go, through the API."""

from pathlib import Path
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.access import with_tenant
from gateway.cli.client import Api
from gateway.cli.output import confirm, json_option, say, show, yes_option
from gateway.cli.texts import read_secret

_COLUMNS = ("id", "url", "events", "disabled", "description", "createdAt")
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

_id = click.argument("endpoint_id", metavar="ID")


@click.group(cls=RichGroup)
def endpoint() -> None:
    """Manage where a tenant's webhooks go.

    Needs a tenant's or a service's key in GATEWAY_ACCESS_KEY, and the root of the API in
    GATEWAY_API.
    """


@endpoint.command()
@click.argument("url")
@click.option("--event", "events", multiple=True, help="A type to send; else all are sent.")
@click.option("--description", default="", help="What receives it.")
@click.option(
    "--secret-file", type=_FILE, help="File with a signing secret of your own, such as whsec_..."
)
@with_tenant
@json_option
def create(
    api: Api,
    *,
    url: str,
    events: tuple[str, ...],
    description: str,
    secret_file: Path | None,
    as_json: bool,
) -> None:
    """Send webhooks to a URL; prints the signing secret, the only time that it is shown."""
    body: dict[str, object] = {"url": url, "events": list(events), "description": description}
    if secret_file is not None:
        body["secret"] = read_secret(secret_file)
    show(api.call("POST", "/v1/endpoint", body), as_json=as_json)
    say("This is the only time that the secret is shown.")


@endpoint.command(name="list")
@with_tenant
@json_option
def list_(api: Api, *, as_json: bool) -> None:
    """List the endpoints of a tenant."""
    show(api.listed("/v1/endpoint"), as_json=as_json, columns=_COLUMNS)


@endpoint.command()
@_id
@with_tenant
@json_option
def get(api: Api, *, endpoint_id: str, as_json: bool) -> None:
    """Print an endpoint."""
    show(api.call("GET", _path(endpoint_id)), as_json=as_json)


@endpoint.command()
@_id
@yes_option
@with_tenant
@json_option
def delete(api: Api, *, endpoint_id: str, yes: bool, as_json: bool) -> None:
    """Delete an endpoint; what it was still owed is not sent any more."""
    confirm(f"Delete the endpoint {endpoint_id}?", yes=yes)
    show(api.call("DELETE", _path(endpoint_id)), as_json=as_json)


def _path(endpoint_id: str) -> str:
    return f"/v1/endpoint/{quote(endpoint_id, safe='')}"
