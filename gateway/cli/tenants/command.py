"""`gateway tenant`: tenants, through the operators' API."""

import codecs
import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_operator
from gateway.cli.api.client import Api
from gateway.cli.api.lists import ListOptions, Source, listing_options, show_listing
from gateway.cli.tenants.limits import with_limits
from gateway.cli.tenants.portal import look, portal_link
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.option_types import json_object
from gateway.cli.terminal.output import confirm, json_option, show, yes_option
from gateway.cli.terminal.table import Column
from gateway.core.text.printable import printable_json

_COLUMNS = (
    Column("slug"),
    Column("name", least=10, rank=1),
    Column("suspendedAt", rank=2),
    Column("limits.maxQueued", rank=4),
    Column("limits.maxInFlight", rank=5),
    Column("limits.maxRate", rank=6),
    Column("createdAt", rank=3),
)

_slug = click.argument("slug")
_reason = click.option("--reason", default="", help="Why; the audit log keeps it.")
_name = click.option("--name", help="Display name of the tenant.")
_metadata = click.option(
    "--metadata",
    type=json_object,
    metavar="JSON",
    help="Sent upstream with each of its jobs: an object, @FILE, or - for standard input.",
)
_TRUSTED = {
    "nobody": [],
    "upstream": ["upstream"],
    "receivers": ["receivers"],
    "both": ["upstream", "receivers"],
}
_send_traceparent = click.option(
    "--send-traceparent",
    type=click.Choice(list(_TRUSTED)),
    help="Who is sent the trace context of its jobs, if traces are on.",
)


@click.group(cls=RichGroup)
def tenant() -> None:
    """Manage tenants.

    Needs an operator's key in GATEWAY_OPERATOR_KEY, and the root of the API in GATEWAY_API.
    """


@tenant.command()
@_slug
@_name
@_metadata
@_send_traceparent
@with_limits
@with_operator
@json_option
def create(
    api: Api,
    *,
    slug: str,
    name: str | None,
    metadata: dict[str, Any] | None,
    send_traceparent: str | None,
    limits: dict[str, int | None],
    as_json: bool,
) -> None:
    """Create a tenant."""
    body = {
        "slug": slug,
        "name": name or slug,
        "metadata": metadata or {},
        "limits": limits,
        "sendTraceparent": _TRUSTED[send_traceparent or "nobody"],
    }
    show(api.call("POST", "/admin/v1/tenant", body), as_json=as_json)


@tenant.command(name="list")
@functools.partial(listing_options, default=None)
@with_operator
def list_(api: Api, *, wanted: ListOptions) -> None:
    """List tenants, sorted by slug."""
    show_listing(api, Source("/admin/v1/tenant", "tenants"), wanted, _COLUMNS)


@tenant.command()
@_slug
@with_operator
@json_option
def get(api: Api, *, slug: str, as_json: bool) -> None:
    """Print a tenant."""
    show(api.call("GET", _path(slug)), as_json=as_json)


@tenant.command()
@_slug
@_name
@_metadata
@_send_traceparent
@with_limits
@with_operator
@json_option
def update(
    api: Api,
    *,
    slug: str,
    name: str | None,
    metadata: dict[str, Any] | None,
    send_traceparent: str | None,
    limits: dict[str, int | None],
    as_json: bool,
) -> None:
    """Change a tenant: only what is given. Metadata is merged; null removes a key."""
    # Send only what changes: somebody else may be changing the rest.
    sent = None if send_traceparent is None else _TRUSTED[send_traceparent]
    body: dict[str, Any] = {
        "name": name,
        "metadata": metadata,
        "limits": limits or None,
        "sendTraceparent": sent,
    }
    given = {field: value for field, value in body.items() if value is not None}
    if not given:
        raise click.UsageError("Give at least one option to change.")
    show(api.call("PATCH", _path(slug), given), as_json=as_json)


@tenant.command()
@_slug
@_reason
@with_operator
@json_option
def suspend(api: Api, *, slug: str, reason: str, as_json: bool) -> None:
    """Suspend a tenant: refuse its requests and hold its waiting jobs."""
    show(api.call("POST", f"{_path(slug)}/suspend", {"reason": reason}), as_json=as_json)


@tenant.command()
@_slug
@_reason
@with_operator
@json_option
def resume(api: Api, *, slug: str, reason: str, as_json: bool) -> None:
    """Resume a suspended tenant."""
    show(api.call("POST", f"{_path(slug)}/resume", {"reason": reason}), as_json=as_json)


@tenant.command()
@_slug
@yes_option
@with_operator
@json_option
def delete(api: Api, *, slug: str, yes: bool, as_json: bool) -> None:
    """Delete a tenant with its jobs, history, keys and endpoints, permanently."""
    confirm(f"Delete the tenant {slug} and all its data permanently?", yes=yes)
    show(api.call("DELETE", _path(slug)), as_json=as_json)


@tenant.command()
@_slug
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write; it appears when it is complete. Default: standard output.",
)
@with_operator
def export(api: Api, *, slug: str, output: Path | None) -> None:
    """Export all data of a tenant except secrets: one JSON object per line, each with its kind first.

    It has the jobs with their timelines, events, deliveries with their attempts, endpoints, usage and
    audit.
    """
    if output is None:
        api.download(f"{_path(slug)}/export", _printer())
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as file:
            api.download(f"{_path(slug)}/export", file.write)
        part.replace(output)
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error}", ExitCode.USAGE) from None
    finally:
        part.unlink(missing_ok=True)


def _printer() -> Callable[[bytes], None]:
    """Return a printer for NDJSON that comes in pieces; it escapes control characters."""
    decoder = codecs.getincrementaldecoder("utf-8")()

    def take(piece: bytes) -> None:
        sys.stdout.buffer.write(printable_json(decoder.decode(piece)).encode())

    return take


def _path(slug: str) -> str:
    return f"/admin/v1/tenant/{quote(slug, safe='')}"


tenant.add_command(look)
tenant.add_command(portal_link)
