"""Changes of an endpoint by operators: its settings, and its signing secret."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.links import ENDPOINTS
from gateway.console.screens.webhooks.endpoint import endpoint_of, noted, tenant_of
from gateway.console.view import View
from gateway.core.events import EVENT_TYPES
from gateway.core.model import Endpoint, Scope
from gateway.errors import BadRequest
from gateway.flows.admin.audit import changes
from gateway.flows.deliver.endpoints import change_endpoint
from gateway.flows.deliver.signing_secrets import rotate_secret
from gateway.web.context import Injected
from gateway.web.parse.json_body import read_body
from gateway.web.schemas.webhook_requests import EndpointChange
from gateway.web.schemas.webhook_responses import shown_key

_OPERATOR = {"scope": Scope.ADMIN}
# How long the previous secrets still sign, in seconds, and its words.
OVERLAPS = {"86400": "1 day", "604800": "7 days", "3600": "1 hour", "0": "not at all"}
_NUMBERS = {"rateLimit": "rate_limit", "concurrency": "concurrency"}


@get("/endpoints/{endpoint_id:uuid}/edit", opt=_OPERATOR)
async def edit_endpoint(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """The settings in a form."""
    endpoint = await endpoint_of(view, endpoint_id)
    return await _form(view, endpoint, _fields_of(endpoint))


@post("/endpoints/{endpoint_id:uuid}/edit", status_code=200, opt=_OPERATOR)
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


@post("/endpoints/{endpoint_id:uuid}/rotate", status_code=200, opt=_OPERATOR)
async def rotate(endpoint_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Make a new signing secret, and show it this once."""
    endpoint = await endpoint_of(view, endpoint_id)
    overlap = view.form.get("overlap", "")
    if overlap not in OVERLAPS:
        raise BadRequest.of("overlap", f"is not one of {', '.join(OVERLAPS)}")
    await noted(view, endpoint, "secret_rotated", overlapSeconds=int(overlap))
    key = await rotate_secret(view.deps, endpoint.tenant_id, endpoint.id, overlap=float(overlap))
    shown = shown_key(key, endpoint.tenant_id, endpoint.id)
    return view.page(
        "webhooks/secret.html",
        endpoint=endpoint,
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
        is_secret="secret" in shown,
        text=shown.get("secret") or shown["public_key"],
        overlap=OVERLAPS[overlap] if overlap != "0" else "",
    )


async def _form(
    view: View, endpoint: Endpoint, values: Mapping[str, str], error: BadRequest | None = None
) -> Response[bytes]:
    faults = {one.field.partition("[")[0]: one.reason for one in error.errors} if error else {}
    return view.page(
        "webhooks/edit.html",
        status=error.status if error else 200,
        endpoint=endpoint,
        tenant=(await tenant_of(view, endpoint)).slug,
        values=values,
        events=EVENT_TYPES,
        faults=faults,
        fault=error.detail if error else "",
        path=view.at(f"{ENDPOINTS}/{endpoint.id}"),
    )


def _wanted(form: Mapping[str, str]) -> dict[str, object]:
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


HANDLERS = [edit_endpoint, change, rotate]
