"""The access keys of a tenant: create and rotate, with the key shown once, and revoke."""

from typing import Annotated

from litestar import Response, post
from litestar.params import FromPath
from msgspec import Meta

from gateway.console.form import form_as
from gateway.console.links import TENANTS
from gateway.console.view import View
from gateway.core.model import AccessKey, KeyKind, Scope
from gateway.errors import NotFound
from gateway.flows.admin import access_keys
from gateway.web.context import Injected
from gateway.web.schemas.requests import In, Label

_WRITES = {"scope": Scope.ADMIN}
_DAY, _HOUR = 86_400.0, 3_600.0


class KeyForm(In):
    """A new key; without days it does not expire."""

    name: Label
    days: Annotated[int, Meta(ge=1, le=3_650)] | None = None


class RotationForm(In):
    """How many hours the old key still works."""

    hours: Annotated[int, Meta(ge=0, le=720)] = 0


@post("/tenants/{slug:str}/keys", status_code=200, opt=_WRITES)
async def create_key(slug: FromPath[str], view: Injected[View]) -> Response[bytes]:
    """Issue a key, and show it this once."""
    given = form_as(KeyForm, view.form)
    made = await access_keys.create_key(
        view.deps,
        view.signed_in.actor,
        kind=KeyKind.TENANT,
        name=given.name,
        tenant=slug,
        expires_seconds=None if given.days is None else given.days * _DAY,
    )
    return _shown_once(view, slug, *made)


@post("/tenants/{slug:str}/keys/{key_id:str}/rotate", status_code=200, opt=_WRITES)
async def rotate_key(
    slug: FromPath[str], key_id: FromPath[str], view: Injected[View]
) -> Response[bytes]:
    """Issue a successor, and show it this once."""
    await _require(view, slug, key_id)
    hours = form_as(RotationForm, view.form).hours
    made = await access_keys.rotate_key(
        view.deps, view.signed_in.actor, key_id, overlap_seconds=hours * _HOUR
    )
    return _shown_once(view, slug, *made)


@post("/tenants/{slug:str}/keys/{key_id:str}/revoke", status_code=200, opt=_WRITES)
async def revoke_key(
    slug: FromPath[str], key_id: FromPath[str], view: Injected[View]
) -> Response[bytes]:
    """End a key at once."""
    await _require(view, slug, key_id)
    await access_keys.revoke_key(view.deps, view.signed_in.actor, key_id)
    return view.go(view.at(f"{TENANTS}/{slug}?told=revoked"))


async def _require(view: View, slug: str, key_id: str) -> None:
    """Raise NotFound unless the key is the tenant's: a page acts on no key that it does not show."""
    if all(one.key_id != key_id for one in await access_keys.list_keys(view.deps, slug)):
        raise NotFound(f"The tenant '{slug}' has no key {key_id}.")


def _shown_once(view: View, slug: str, key: AccessKey, text: str) -> Response[bytes]:
    return view.page(
        "tenancy/key_made.html", key=key, text=text, slug=slug, back=view.at(f"{TENANTS}/{slug}")
    )


HANDLERS = [create_key, rotate_key, revoke_key]
