"""`gateway endpoint`: a tenant's webhook endpoints, through the API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from rich_click import RichGroup

from gateway.cli.api.access import with_tenant
from gateway.cli.api.client import Api
from gateway.cli.terminal.failures import CommandError
from gateway.cli.terminal.option_types import comma_list, duration, header
from gateway.cli.terminal.output import (
    confirm,
    json_option,
    print_fields,
    print_table,
    say,
    show,
    yes_option,
)
from gateway.cli.terminal.table import Column
from gateway.cli.terminal.text_files import TEXT_FILE, read_secret
from gateway.cli.webhooks.command import recover
from gateway.core.events import EVENT_TYPES
from gateway.core.explain.failure_advice import WEBHOOK_ADVICE

_COLUMNS = (
    Column("id"),
    Column("health", least=8),
    Column("url", least=10, rank=1),
    Column("events", least=8, rank=2),
    Column("description", least=10, rank=3),
    Column("createdAt", rank=4),
)
_STEPS = (
    Column("step"),
    Column("result"),
    Column("found", least=20, rank=1),
    Column("toDo", least=10, rank=2),
    Column("durationMs", rank=3),
)
_DEFAULT = "default"

_id = click.argument("endpoint_id", metavar="ID")


def _number(value: str) -> int | None:
    if value == _DEFAULT:
        return None
    if not value.isdecimal():
        raise click.BadParameter(f"must be a whole number, or '{_DEFAULT}'.")
    return int(value)


def _schedule(value: str) -> list[int] | None:
    return None if value == _DEFAULT else [int(duration(one)) for one in comma_list(value)]


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that `create` and `update` share."""
    options = (
        click.option(
            "--event",
            "events",
            multiple=True,
            metavar="TYPE",
            help=f"Event type to send: {', '.join(EVENT_TYPES)}, or 'all'.",
        ),
        click.option("--description", help="Description of the receiver."),
        click.option(
            "--header",
            "headers",
            multiple=True,
            metavar="'NAME: VALUE'",
            help="Header to send with each webhook.",
        ),
        click.option("--rate-limit", type=_number, metavar="N", help="Most deliveries per second."),
        click.option(
            "--concurrency", type=_number, metavar="N", help="Most deliveries at the same time."
        ),
        click.option(
            "--schedule",
            type=_schedule,
            metavar="5s,5m,...",
            help="Delays between attempts. For this and the numbers, 'default' is the gateway's own.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(cls=RichGroup)
def endpoint() -> None:
    """Manage a tenant's webhook endpoints.

    Needs a tenant's or a service's key in GATEWAY_ACCESS_KEY, and the root of the API in
    GATEWAY_API.
    """


@endpoint.command()
@click.argument("url")
@_settings
@click.option(
    "--secret-file",
    type=TEXT_FILE,
    help="File with the signing secret, such as whsec_.... Default: a new one is made.",
)
@click.option("--algorithm", type=click.Choice(("v1", "v1a")), help="v1a signs with ed25519.")
@with_tenant
@json_option
def create(
    api: Api,
    *,
    url: str,
    secret_file: Path | None,
    algorithm: str | None,
    as_json: bool,
    **given: object,
) -> None:
    """Create an endpoint for a URL and print its signing secret, which is shown only once."""
    body = {"url": url, **_fields(given)}
    if algorithm is not None:
        body["algorithm"] = algorithm
    if secret_file is not None:
        body["secret"] = read_secret(secret_file)
    _show(api.call("POST", "/v1/endpoint", body), as_json=as_json)
    if algorithm != "v1a":
        say("The secret is shown only once.")


@endpoint.command(name="list")
@with_tenant
@json_option
def list_(api: Api, *, as_json: bool) -> None:
    """List the endpoints of a tenant, with the health of each."""
    found = [one for page in api.pages("/v1/endpoint") for one in page]
    if as_json:
        show(found, as_json=True)
        return
    empty = "There are no endpoints: `gateway endpoint create URL` makes one."
    print_table([_row(one) for one in found], _COLUMNS, empty=empty)


@endpoint.command()
@_id
@with_tenant
@json_option
def get(api: Api, *, endpoint_id: str, as_json: bool) -> None:
    """Print an endpoint."""
    _show(api.call("GET", _path(endpoint_id)), as_json=as_json)


@endpoint.command()
@_id
@click.option("--url", help="New URL of the endpoint.")
@_settings
@with_tenant
@json_option
def update(api: Api, *, endpoint_id: str, url: str | None, as_json: bool, **given: object) -> None:
    """Change an endpoint: only what is given. Events and headers are replaced as a whole."""
    body = _fields({"url": url, **given})
    if not body:
        raise click.UsageError("Give at least one option to change.")
    _show(api.call("PATCH", _path(endpoint_id), body), as_json=as_json)


@endpoint.command()
@_id
@click.option(
    "--type", "kind", default="test.ping", type=click.Choice(EVENT_TYPES), show_default=True
)
@with_tenant
@json_option
def test(api: Api, *, endpoint_id: str, kind: str, as_json: bool) -> None:
    """Send a sample event once, even to a disabled endpoint; exit status 1 if it is not accepted."""
    found = api.call("POST", f"{_path(endpoint_id)}/test", {"type": kind})
    show(found, as_json=as_json)
    if not found["delivered"]:
        why = found["detail"] or found["errorClass"]
        raise CommandError(f"the endpoint did not accept it: {why}", hint=_hint(found))


@endpoint.command()
@_id
@with_tenant
@json_option
def check(api: Api, *, endpoint_id: str, as_json: bool) -> None:
    """Check the way to the receiver step by step; exit status 1 if a step fails."""
    found = api.call("POST", f"{_path(endpoint_id)}/check")
    if as_json:
        show(found, as_json=True)
    else:
        print_table(found["steps"], _STEPS)
    failed = next((one for one in found["steps"] if one["result"] == "fail"), None)
    if failed is not None:
        raise CommandError(f"{failed['step']}: {failed['found']}", hint=failed["toDo"])


@endpoint.command()
@_id
@with_tenant
@json_option
def enable(api: Api, *, endpoint_id: str, as_json: bool) -> None:
    """Enable an endpoint: deliver new events to it again."""
    found = api.call("POST", f"{_path(endpoint_id)}/enable")
    _show(found, as_json=as_json)
    if found["parkedDeliveries"]:
        say(
            f"{found['parkedDeliveries']} deliveries were parked in the meantime; "
            f"`gateway endpoint recover {endpoint_id} --since 7d` sends them."
        )


@endpoint.command()
@_id
@click.option("--reason", help="The reason, shown with the endpoint.")
@with_tenant
@json_option
def disable(api: Api, *, endpoint_id: str, reason: str | None, as_json: bool) -> None:
    """Disable an endpoint: its deliveries are parked until it is enabled and recovered."""
    body = {} if reason is None else {"reason": reason}
    _show(api.call("POST", f"{_path(endpoint_id)}/disable", body), as_json=as_json)


@endpoint.command(name="rotate-secret")
@_id
@click.option(
    "--overlap",
    type=duration,
    default="1d",
    show_default=True,
    help="How long the old secret signs too.",
)
@click.option(
    "--secret-file", type=TEXT_FILE, help="File with the new secret. Default: a new one is made."
)
@with_tenant
@json_option
def rotate_secret(
    api: Api, *, endpoint_id: str, overlap: float, secret_file: Path | None, as_json: bool
) -> None:
    """Make a new signing secret and print it; until the overlap ends the old one signs too."""
    body: dict[str, object] = {"overlapSeconds": overlap}
    if secret_file is not None:
        body["secret"] = read_secret(secret_file)
    show(api.call("POST", f"{_path(endpoint_id)}/rotate-secret", body), as_json=as_json)
    say("The secret is shown only once.")


@endpoint.command()
@_id
@yes_option
@with_tenant
@json_option
def delete(api: Api, *, endpoint_id: str, yes: bool, as_json: bool) -> None:
    """Delete an endpoint; its pending deliveries are not sent."""
    confirm(f"Delete the endpoint {endpoint_id}?", yes=yes)
    show(api.call("DELETE", _path(endpoint_id)), as_json=as_json)


endpoint.add_command(recover)


def _path(endpoint_id: str) -> str:
    return f"/v1/endpoint/{quote(endpoint_id, safe='')}"


def _fields(given: dict[str, object]) -> dict[str, Any]:
    """Return the options that were given, by the names of the API."""
    sources = click.get_current_context().get_parameter_source
    names = {"rate_limit": "rateLimit"}
    is_given = click.core.ParameterSource.COMMANDLINE
    body: dict[str, Any] = {
        names.get(name, name): value for name, value in given.items() if sources(name) is is_given
    }
    if "events" in body:
        body["events"] = [one for one in body["events"] if one != "all"]
    if "headers" in body:
        body["headers"] = dict(map(header, body["headers"]))
    return body


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show(found, as_json=True)
        return
    row = _row(found)
    print_fields([(name, row[name]) for name in ("health", *found)])


def _row(found: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint with its health, and its events as text."""
    return {**found, "health": _health(found), "events": ", ".join(found["events"]) or "all"}


def _health(found: dict[str, Any]) -> str:
    if found["disabled"]:
        return f"disabled: {found['disabledReason']}"
    if found["failingSince"]:
        return f"failing since {found['failingSince']}"
    return "ok"


def _hint(found: dict[str, Any]) -> str:
    return WEBHOOK_ADVICE.get(found["errorClass"] or "", "")
