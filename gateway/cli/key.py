"""`gateway key`: access keys, straight in the database, so that a first one can be made."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
from rich_click import RichGroup

from gateway import log
from gateway.cli.db import require_schema
from gateway.cli.environment import settings_of_environment
from gateway.cli.output import confirm, json_option, say, show, tell, yes_option
from gateway.cli.values import comma_list, duration
from gateway.core.model import AccessKey, KeyKind
from gateway.flows.deps import Deps
from gateway.flows.keys import create_key, revoke_key, rotate_key
from gateway.flows.tenants import get_tenant
from gateway.runtime import open_deps
from gateway.store import keys

ACTOR = "cli"
_COLUMNS = ("keyId", "kind", "name", "scopes", "createdAt", "expiresAt", "revokedAt", "lastUsedAt")

T = TypeVar("T")


@click.group(cls=RichGroup)
def key() -> None:
    """Manage access keys, straight in the database.

    Takes the environment of the server instead of its API, so it also works without any key.
    """


@key.command()
@click.option("--operator", is_flag=True, help="For an operator, who uses /admin.")
@click.option("--service", is_flag=True, help="For an internal service that acts for tenants.")
@click.option("--tenant", metavar="SLUG", help="For one tenant.")
@click.option("--name", required=True, help="Who uses it.")
@click.option("--tenants", type=comma_list, help="Whom a service key may act for; else all.")
@click.option("--scopes", type=comma_list, help="Less than all that its kind may do.")
@click.option("--expires", type=duration, help="Lifetime, such as 30d; else it has no end.")
@json_option
def create(
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

    async def work(deps: Deps) -> tuple[AccessKey, str]:
        return await create_key(
            deps,
            ACTOR,
            kind=kind,
            name=name,
            tenant=tenant,
            allowed_tenants=tenants,
            scopes=None if scopes is None else frozenset(scopes),
            expires_seconds=expires,
        )

    _show_new(_run(work), as_json=as_json)


@key.command(name="list")
@click.option("--tenant", metavar="SLUG", help="Those of a tenant; else those of no tenant.")
@json_option
def list_(tenant: str | None, *, as_json: bool) -> None:
    """List keys, without their secrets."""

    async def work(deps: Deps) -> Sequence[AccessKey]:
        tenant_id = None if tenant is None else (await get_tenant(deps, tenant)).id
        async with deps.db.single() as tx:
            return await keys.of_tenant(tx, tenant_id)

    show([_row(one) for one in _run(work)], as_json=as_json, columns=_COLUMNS)


@key.command()
@click.argument("key_id", metavar="KEYID")
@click.option(
    "--overlap",
    type=duration,
    default="1h",
    show_default=True,
    help="How long the old key still works.",
)
@json_option
def rotate(key_id: str, overlap: float, *, as_json: bool) -> None:
    """Make a key like another one, which ends after an overlap."""

    async def work(deps: Deps) -> tuple[AccessKey, str]:
        return await rotate_key(deps, ACTOR, key_id, overlap_seconds=overlap)

    _show_new(_run(work, announces=True), as_json=as_json)


@key.command()
@click.argument("key_id", metavar="KEYID")
@yes_option
@json_option
def revoke(key_id: str, *, yes: bool, as_json: bool) -> None:
    """End a key at once, everywhere."""
    confirm(f"End the key {key_id} at once?", yes=yes)

    async def work(deps: Deps) -> AccessKey:
        return await revoke_key(deps, ACTOR, key_id)

    show(_row(_run(work, announces=True)), as_json=as_json)


def _run(work: Callable[[Deps], Awaitable[T]], *, announces: bool = False) -> T:
    """Do the work; without Redis an announcement is lost, which is then worth a warning."""
    settings = settings_of_environment()
    log.configure("warning" if announces else "error", "console")
    require_schema(settings.database_url.get_secret_value())

    async def run() -> T:
        async with open_deps(settings, "gateway key") as deps:
            return await work(deps)

    return asyncio.run(run())


def _row(one: AccessKey) -> dict[str, Any]:
    times = {
        "createdAt": one.created_at,
        "expiresAt": one.expires_at,
        "revokedAt": one.revoked_at,
        "lastUsedAt": one.last_used_at,
    }
    return {
        "keyId": one.key_id,
        "kind": one.kind.value,
        "name": one.name,
        "scopes": sorted(one.scopes),
        **{name: _text(at) for name, at in times.items()},
    }


def _show_new(made: tuple[AccessKey, str], *, as_json: bool) -> None:
    one, text = made
    if as_json:
        show({"accessKey": text, **_row(one)}, as_json=True)
        return
    tell(text)
    say(f"This is the only time that the key {one.key_id} is shown.")


def _text(at: datetime | None) -> str | None:
    return at and f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"
