"""Changes of endpoints by operators and tenants: new ones, their settings, their secrets, and their end."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import field

from gateway.console.links import ENDPOINTS
from gateway.console.screens.webhooks.endpoint import endpoint_of, noted, tenant_of
from gateway.console.view import View
from gateway.core.events import EVENT_TYPES
from gateway.core.model import Endpoint, Scope
from gateway.errors import BadRequest, Conflict, GatewayError, NotFound
from gateway.flows.admin.audit import changes, note_before
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deliver.endpoints import (
    EndpointSpec,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
)
from gateway.flows.deliver.signing_secrets import rotate_secret
from gateway.web.context import Injected
from gateway.web.parse.json_body import read_body
from gateway.web.schemas.requests import Choice, In
from gateway.web.schemas.webhook_requests import EndpointChange
from gateway.web.schemas.webhook_responses import shown_key

_WRITES = {"scope": Scope.ENDPOINTS_WRITE}
# How long the previous secrets still sign, in seconds, and its words.
OVERLAPS = {"86400": "1 day", "604800": "7 days", "3600": "1 hour", "0": "not at all"}
_NUMBERS = {"rateLimit": "rate_limit", "concurrency": "concurrency"}


class NewEndpointView(In):
    """Whose endpoint is made."""

    tenant: Choice = field(default_factory=list[str])


@get("/endpoints/new", opt=_WRITES)
async def show_new_endpoint(
    parameters: Injected[NewEndpointView], view: Injected[View]
) -> Response[bytes]:
    """An empty form; staff names the tenant."""
    slug = "" if view.signed_in.tenant else "".join(parameters.tenant[:1])
    return _new_form(view, {"tenant": slug})


@post("/endpoints/new", status_code=200, opt=_WRITES)
async def make_endpoint(view: Injected[View]) -> Response[bytes]:
    """Make an endpoint, and show its secret this once; a wrong field is named, and what was typed stays."""
    own, slug = view.signed_in.tenant, view.form.get("tenant", "").strip()
    try:
        tenant = own or await get_tenant(view.deps, slug)
        wanted = EndpointSpec(**_wanted(view.form))
        limits, actor = tenant.limits, view.signed_in.actor
        made, key = await create_endpoint(view.deps, tenant.id, wanted, most=limits.max_endpoints)
    except NotFound:
        return _new_form(view, view.form, BadRequest.of("tenant", f"there is no tenant '{slug}'"))
    except (BadRequest, Conflict) as error:
        return _new_form(view, view.form, error)
    await note_before(view.deps, actor, "endpoint.created", str(made.id), tenant.id, url=made.url)
    return _secret(view, made, shown_key(key, tenant.id, made.id), is_new=True)


@post("/endpoints/{endpoint_id:uuid}/delete", status_code=200, opt=_WRITES)
async def delete(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Delete it; its past deliveries stay in the lists."""
    endpoint = await endpoint_of(view, endpoint_id)
    await noted(view, endpoint, "deleted", url=endpoint.url)
    await delete_endpoint(view.deps, endpoint.tenant_id, endpoint.id)
    return view.go(view.at(f"{ENDPOINTS}?told=deleted"))


@get("/endpoints/{endpoint_id:uuid}/edit", opt=_WRITES)
async def edit_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """The settings in a form."""
    endpoint = await endpoint_of(view, endpoint_id)
    return await _form(view, endpoint, _fields_of(endpoint))


@post("/endpoints/{endpoint_id:uuid}/edit", status_code=200, opt=_WRITES)
async def change(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Store the settings; a wrong one is named beside its field, and what was typed stays."""
    endpoint = await endpoint_of(view, endpoint_id)
    try:
        wanted = _wanted(view.form)
        before = _values(endpoint)
        if changed := changes(before, wanted):
            await noted(view, endpoint, "changed", changes=changed)
        given = {name: value for name, value in wanted.items() if before[name] != value}
        if given:
            await change_endpoint(view.deps, endpoint.tenant_id, endpoint.id, given)
    except BadRequest as error:
        return await _form(view, endpoint, dict(view.form), error)
    return view.go(view.at(f"{ENDPOINTS}/{endpoint.id}?told=changed"))


@post("/endpoints/{endpoint_id:uuid}/rotate", status_code=200, opt=_WRITES)
async def rotate(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Make a new signing secret, and show it this once."""
    endpoint = await endpoint_of(view, endpoint_id)
    overlap = view.form.get("overlap", "")
    if overlap not in OVERLAPS:
        raise BadRequest.of("overlap", f"is not one of {', '.join(OVERLAPS)}")
    await noted(view, endpoint, "secret_rotated", overlapSeconds=int(overlap))
    key = await rotate_secret(view.deps, endpoint.tenant_id, endpoint.id, overlap=float(overlap))
    shown = shown_key(key, endpoint.tenant_id, endpoint.id)
    return _secret(view, endpoint, shown, overlap=OVERLAPS[overlap] if overlap != "0" else "")


def _secret(
    view: View,
    endpoint: Endpoint,
    shown: Mapping[str, str],
    *,
    overlap: str = "",
    is_new: bool = False,
) -> Response[bytes]:
    return view.page(
        "webhooks/secret.html",
        endpoint=endpoint,
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
        is_secret="secret" in shown,
        text=shown.get("secret") or shown["public_key"],
        overlap=overlap,
        is_new=is_new,
    )


def _new_form(
    view: View, values: Mapping[str, str], error: GatewayError | None = None
) -> Response[bytes]:
    return view.page(
        "webhooks/new_endpoint.html",
        status=error.status if error else 200,
        values=values,
        events=EVENT_TYPES,
        faults=_faults(error),
        fault=error.detail if error else "",
    )


def _faults(error: GatewayError | None) -> dict[str, str]:
    return {one.field.partition("[")[0]: one.reason for one in error.errors} if error else {}


async def _form(
    view: View, endpoint: Endpoint, values: Mapping[str, str], error: BadRequest | None = None
) -> Response[bytes]:
    return view.page(
        "webhooks/edit.html",
        status=error.status if error else 200,
        endpoint=endpoint,
        tenant=(await tenant_of(view, endpoint)).slug,
        values=values,
        events=EVENT_TYPES,
        faults=_faults(error),
        fault=error.detail if error else "",
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
    )


def _wanted(form: Mapping[str, str]) -> dict[str, Any]:
    """The settings of a form by the names of EndpointSpec; raises BadRequest, with the names of the API."""
    given: dict[str, Any] = {
        "url": form.get("url", "").strip(),
        "description": form.get("description", ""),
        "events": [one for one in EVENT_TYPES if f"event.{one}" in form],
        "schedule": _schedule(form.get("schedule", "")),
    }
    given |= {name: _number(name, form.get(name, "")) for name in _NUMBERS}
    read = read_body(EndpointChange, msgspec.json.encode(given))
    return {
        "url": read.url,
        "description": read.description,
        "events": [one.value for one in read.events or ()],
        "schedule": list(read.schedule) if isinstance(read.schedule, list) else None,
        "rate_limit": read.rate_limit,
        "concurrency": read.concurrency,
    }


def _values(endpoint: Endpoint) -> dict[str, object]:
    """The present settings by the same names."""
    return {
        "url": endpoint.url,
        "description": endpoint.description,
        "events": list(endpoint.events),
        "schedule": None if endpoint.delays is None else list(endpoint.delays),
        "rate_limit": endpoint.rate_limit,
        "concurrency": endpoint.concurrency,
    }


def _fields_of(endpoint: Endpoint) -> dict[str, str]:
    """The present settings as fields of the form."""
    fields = {
        "url": endpoint.url,
        "description": endpoint.description,
        "rateLimit": str(endpoint.rate_limit or ""),
        "concurrency": str(endpoint.concurrency or ""),
        "schedule": ", ".join(map(str, endpoint.delays or ())),
    }
    if endpoint.delays == ():
        fields["schedule"] = "none"
    return fields | {f"event.{one}": "on" for one in endpoint.events}


def _number(name: str, text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):  # noqa: PLR2004
        raise BadRequest.of(name, "must be a whole number, or empty for the gateway's default")
    return int(text)


def _schedule(text: str) -> list[int] | None:
    """Seconds between attempts, apart by commas; `none` is a single attempt, empty is the default."""
    if text.strip() == "none":
        return []
    numbers = [_number("schedule", part) for part in text.split(",") if text.strip()]
    if None in numbers:
        raise BadRequest.of("schedule", "must be whole seconds, apart by commas")
    return [one for one in numbers if one is not None] or None


HANDLERS = [show_new_endpoint, make_endpoint, delete, edit_endpoint, change, rotate]
