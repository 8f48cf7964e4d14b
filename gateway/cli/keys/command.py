"""`gateway key`: access keys, in the database or through the API of operators."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate

import click
from rich_click import RichGroup

from gateway.cli.api.access import operator_access, operator_options
from gateway.cli.keys.api import ApiKeys
from gateway.cli.keys.ports import Keys, Shown, WantedKey
from gateway.cli.terminal.option_types import comma_list, duration
from gateway.cli.terminal.output import confirm, json_option, say, show, tell, yes_option
from gateway.cli.terminal.table import Column
from gateway.core.model import KeyKind

_COLUMNS = (
    Column("keyId"),
    Column("kind", rank=1),
    Column("name", least=10, rank=2),
    Column("scopes", least=12, rank=6),
    Column("createdAt", rank=7),
    Column("expiresAt", rank=4),
    Column("revokedAt", rank=3),
    Column("lastUsedAt", rank=5),
)
_DATABASE_URL = "GATEWAY_DATABASE_URL"


def _with_keys(command: Callable[Concatenate[Keys, ...], None]) -> Callable[..., None]:
    """Give a command the options that say where the keys are, and those keys as its first argument."""

    @operator_options
    @click.option(
        "--database", is_flag=True, help=f"In the database that {_DATABASE_URL} names, without API."
    )
    @functools.wraps(command)
    def wrapper(
        *,
        api: str | None,
        key_file: Path | None,
        data_dir: Path | None,
        database: bool,
        **kwargs: object,
    ) -> None:
        named = api or key_file or data_dir
        if database and named:
            raise click.UsageError("--database goes without --api, --key-file and --data-dir.")
        if database or (not named and os.environ.get(_DATABASE_URL)):
            from gateway.cli.keys.database import DatabaseKeys  # noqa: PLC0415 - it is heavy

            command(DatabaseKeys(), **kwargs)
        else:
            command(ApiKeys(operator_access(api, key_file, data_dir)), **kwargs)

    return wrapper


@click.group(cls=RichGroup)
def key() -> None:
    """Manage access keys, in the database or through the API.

    With GATEWAY_DATABASE_URL, which is all that it needs then, straight in the database: so the
    first operator's key is made. Else, or with --api, with an operator's key as `gateway tenant`.
    """


@key.command()
@click.option("--operator", is_flag=True, help="For an operator, who uses /admin.")
@click.option("--service", is_flag=True, help="For an internal service that acts for tenants.")
@click.option("--tenant", metavar="SLUG", help="For one tenant.")
@click.option("--name", required=True, help="Who uses it.")
@click.option("--tenants", type=comma_list, help="Whom a service key may act for; else all.")
@click.option("--scopes", type=comma_list, help="Less than all that its kind may do.")
@click.option("--expires", type=duration, help="Lifetime, such as 30d; else it has no end.")
@_with_keys
@json_option
def create(
    keys: Keys,
    *,
    operator: bool,
    service: bool,
    tenant: str | None,
    name: str,
    tenants: list[str] | None,
    scopes: list[str] | None,
    expires: float | None,
    as_json: bool,
) -> None:
    """Make a key and print it, the only time that it is shown."""
    if operator + service + (tenant is not None) != 1:
        raise click.UsageError("Say one of --operator, --service and --tenant SLUG.")
    if tenants is not None and not service:
        raise click.UsageError("--tenants is for --service.")
    kind = KeyKind.OPERATOR if operator else KeyKind.SERVICE if service else KeyKind.TENANT
    wanted = WantedKey(
        kind=kind,
        name=name,
        tenant=tenant,
        tenants=tenants,
        scopes=scopes,
        expires_seconds=expires,
    )
    _show_new(keys.create(wanted), as_json=as_json)


@key.command(name="list")
@click.option("--tenant", metavar="SLUG", help="Those of a tenant; else those of no tenant.")
@_with_keys
@json_option
def list_(keys: Keys, *, tenant: str | None, as_json: bool) -> None:
    """List keys, without their secrets."""
    owner = (
        "without a tenant; --tenant SLUG lists those of a tenant"
        if tenant is None
        else f"of {tenant}"
    )
    show(keys.list(tenant), as_json=as_json, columns=_COLUMNS, empty=f"There are no keys {owner}.")


@key.command()
@click.argument("key_id", metavar="KEYID")
@click.option(
    "--overlap",
    type=duration,
    default="1h",
    show_default=True,
    help="How long the old key still works.",
)
@_with_keys
@json_option
def rotate(keys: Keys, *, key_id: str, overlap: float, as_json: bool) -> None:
    """Make a key like another one, which ends after an overlap."""
    _show_new(keys.rotate(key_id, overlap), as_json=as_json)


@key.command()
@click.argument("key_id", metavar="KEYID")
@yes_option
@_with_keys
@json_option
def revoke(keys: Keys, *, key_id: str, yes: bool, as_json: bool) -> None:
    """End a key at once, everywhere."""
    confirm(f"End the key {key_id} at once?", yes=yes)
    show(keys.revoke(key_id), as_json=as_json)


def _show_new(made: Shown, *, as_json: bool) -> None:
    if as_json:
        show(made, as_json=True)
        return
    tell(made["accessKey"])
    say(f"This is the only time that the key {made['keyId']} is shown.")
