"""`gateway key`: access keys, in the database or through the operators' API."""

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
from gateway.cli.terminal.output import confirm, json_option, print_line, say, show, yes_option
from gateway.cli.terminal.table import Column
from gateway.core.model import KeyKind
from gateway.core.roles import Role

_COLUMNS = (
    Column("keyId"),
    Column("kind", rank=1),
    Column("name", least=10, rank=2),
    Column("role", rank=3),
    Column("scopes", least=12, rank=6),
    Column("createdAt", rank=7),
    Column("expiresAt", rank=4),
    Column("revokedAt", rank=3),
    Column("lastUsedAt", rank=5),
)
_DATABASE_URL = "GATEWAY_DATABASE_URL"


def _with_keys(command: Callable[Concatenate[Keys, ...], None]) -> Callable[..., None]:
    """Give a command the options for the database or the API, and the Keys as its first argument."""

    @operator_options
    @click.option(
        "--database", is_flag=True, help=f"Use the database at {_DATABASE_URL} instead of the API."
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
            raise click.UsageError(
                "--database cannot be combined with --api, --key-file and --data-dir."
            )
        if database or (not named and os.environ.get(_DATABASE_URL)):
            from gateway.cli.keys.database import DatabaseKeys  # noqa: PLC0415 - it is heavy

            command(DatabaseKeys(), **kwargs)
        else:
            command(ApiKeys(operator_access(api, key_file, data_dir)), **kwargs)

    return wrapper


@click.group(cls=RichGroup)
def key() -> None:
    """Manage access keys, in the database or through the API.

    If GATEWAY_DATABASE_URL is set, it works directly in the database and needs no other setting: this
    creates the first operator's key. Otherwise, or with --api, it needs an operator's key, as
    `gateway tenant` does.
    """


@key.command()
@click.option("--operator", is_flag=True, help="For an operator, who may use /admin.")
@click.option("--service", is_flag=True, help="For an internal service that acts for tenants.")
@click.option("--tenant", metavar="SLUG", help="For one tenant.")
@click.option("--name", required=True, help="Name of the key, such as its user.")
@click.option(
    "--tenants", type=comma_list, help="Tenants that a service key may act for. Default: all."
)
@click.option("--scopes", type=comma_list, help="Scopes of the key. Default: all of its kind.")
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    help="Role of an operator key, in the place of --scopes. Default: operator.",
)
@click.option("--expires", type=duration, help="Lifetime, such as 30d. Default: no expiry.")
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
    role: str | None,
    expires: float | None,
    as_json: bool,
) -> None:
    """Create a key and print it; it is shown only once."""
    if operator + service + (tenant is not None) != 1:
        raise click.UsageError("Use exactly one of --operator, --service and --tenant SLUG.")
    if tenants is not None and not service:
        raise click.UsageError("--tenants works only with --service.")
    if role is not None and not operator:
        raise click.UsageError("--role works only with --operator.")
    kind = KeyKind.OPERATOR if operator else KeyKind.SERVICE if service else KeyKind.TENANT
    wanted = WantedKey(
        kind=kind,
        name=name,
        tenant=tenant,
        tenants=tenants,
        scopes=scopes,
        role=None if role is None else Role(role),
        expires_seconds=expires,
    )
    _show_new(keys.create(wanted), as_json=as_json)


@key.command(name="list")
@click.option(
    "--tenant", metavar="SLUG", help="List the keys of this tenant. Default: keys without a tenant."
)
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
    help="How long the old key keeps working.",
)
@_with_keys
@json_option
def rotate(keys: Keys, *, key_id: str, overlap: float, as_json: bool) -> None:
    """Create a key with the same rights, and revoke the old one after an overlap."""
    _show_new(keys.rotate(key_id, overlap), as_json=as_json)


@key.command()
@click.argument("key_id", metavar="KEYID")
@yes_option
@_with_keys
@json_option
def revoke(keys: Keys, *, key_id: str, yes: bool, as_json: bool) -> None:
    """Revoke a key at once, everywhere."""
    confirm(f"Revoke the key {key_id} at once?", yes=yes)
    show(keys.revoke(key_id), as_json=as_json)


def _show_new(made: Shown, *, as_json: bool) -> None:
    if as_json:
        show(made, as_json=True)
        return
    print_line(made["accessKey"])
    say(f"The key {made['keyId']} is shown only once.")
