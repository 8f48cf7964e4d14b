"""`gateway tenant portal` and `portal-link`: the look of a tenant's portal, and one-time links into it."""

from typing import Any
from urllib.parse import quote

import click

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.terminal.output import json_option, show
from gateway.core.portal.pages import PortalPage

_NAMES = {"accent": "accent", "logo": "logoUrl", "mode": "mode"}


@click.command("portal")
@click.argument("slug")
@click.option("--accent", metavar="#RRGGBB", help="Colour of links and main buttons; '' for none.")
@click.option("--logo", metavar="URL", help="Picture in place of the tenant's name; '' for none.")
@click.option("--mode", type=click.Choice(["light", "dark", "auto"]), help="Theme.")
@click.option(
    "--frame-ancestor",
    "origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may show the portal in a frame; may be repeated. '' for none.",
)
@with_operator
@json_option
def look(
    api: Api, *, slug: str, origins: tuple[str, ...], as_json: bool, **given: str | None
) -> None:
    """Show the look of a tenant's portal, or change what is given of it."""
    path = f"/admin/v1/tenant/{quote(slug, safe='')}/portal"
    found = api.call("GET", path)
    changes: dict[str, Any] = {
        _NAMES[name]: value or None for name, value in given.items() if value is not None
    }
    if origins:
        changes["frameAncestors"] = [one for one in origins if one]
    show(api.call("PUT", path, {**found, **changes}) if changes else found, as_json=as_json)


@click.command("portal-link")
@click.argument("slug")
@click.option("--read-only", is_flag=True, help="Whoever opens it changes nothing.")
@click.option(
    "--page",
    "pages",
    type=click.Choice([page.value for page in PortalPage]),
    multiple=True,
    help="Only these pages; may be repeated.",
)
@with_operator
@json_option
def portal_link(
    api: Api, *, slug: str, read_only: bool, pages: tuple[str, ...], as_json: bool
) -> None:
    """Make a link that opens a tenant's portal once, within five minutes."""
    body = {"readOnly": read_only, "pages": list(pages)}
    made = api.call("POST", f"/admin/v1/tenant/{quote(slug, safe='')}/portal-link", body)
    show(made, as_json=as_json)
