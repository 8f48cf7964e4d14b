"""Access keys and links into the console, directly in the database: the first way in."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from gateway import log
from gateway.cli.keys.ports import Shown, WantedKey
from gateway.cli.operate.load_settings import settings_of_database
from gateway.cli.operate.required_schema import require_schema
from gateway.core.model import AccessKey, KeyKind
from gateway.core.roles import Role, role_of
from gateway.flows.admin.access_keys import create_key, revoke_key, rotate_key
from gateway.flows.admin.sessions import link_url, make_console_link
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deps import Deps
from gateway.runtime import open_deps
from gateway.store.tenancy import access_keys

ACTOR = "cli"

T = TypeVar("T")


class DatabaseKeys:
    """Manages keys in the database at GATEWAY_DATABASE_URL, without an API or a key."""

    def create(self, wanted: WantedKey) -> Shown:
        """Create a key."""

        async def work(deps: Deps) -> tuple[AccessKey, str]:
            return await create_key(
                deps,
                ACTOR,
                kind=wanted.kind,
                name=wanted.name,
                tenant=wanted.tenant,
                allowed_tenants=wanted.tenants,
                scopes=None if wanted.scopes is None else frozenset(wanted.scopes),
                role=wanted.role,
                expires_seconds=wanted.expires_seconds,
            )

        return _made(_run(work))

    def list(self, tenant: str | None) -> Sequence[Shown]:
        """Return the keys of a tenant, or those without a tenant."""

        async def work(deps: Deps) -> Sequence[AccessKey]:
            tenant_id = None if tenant is None else (await get_tenant(deps, tenant)).id
            async with deps.db.single() as tx:
                return await access_keys.of_tenant(tx, tenant_id)

        return [_row(one) for one in _run(work)]

    def rotate(self, key_id: str, overlap_seconds: float) -> Shown:
        """Create a key with the same rights; the old one is revoked after the overlap."""

        async def work(deps: Deps) -> tuple[AccessKey, str]:
            return await rotate_key(deps, ACTOR, key_id, overlap_seconds=overlap_seconds)

        return _made(_run(work, announces=True))

    def revoke(self, key_id: str) -> Shown:
        """Revoke a key at once."""

        async def work(deps: Deps) -> AccessKey:
            return await revoke_key(deps, ACTOR, key_id)

        return _row(_run(work, announces=True))


def make_link(name: str, role: Role) -> str:
    """The address of a one-time link into the console."""

    async def work(deps: Deps) -> str:
        token = await make_console_link(deps, who=name, role=role)
        return link_url(deps.public_url, "console", token)

    return _run(work)


def _run(work: Callable[[Deps], Awaitable[T]], *, announces: bool = False) -> T:
    """Run with open dependencies; if `announces`, log a warning if Redis cannot tell other processes."""
    settings = settings_of_database()
    log.configure("warning" if announces else "error", "console")
    require_schema(settings.database_url.get_secret_value())

    async def run() -> T:
        async with open_deps(settings, "gateway key") as deps:
            return await work(deps)

    return asyncio.run(run())


def _made(made: tuple[AccessKey, str]) -> Shown:
    one, text = made
    return {"accessKey": text, **_row(one)}


def _row(one: AccessKey) -> Shown:
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
        "role": role_of(one.scopes) if one.kind is KeyKind.OPERATOR else None,
        **{name: _text(at) for name, at in times.items()},
    }


def _text(at: datetime | None) -> str | None:
    return at and f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"
