"""Signature checker: paste what a receiver got, and see what differs. The secret is forgotten at once."""

import json
from collections.abc import Mapping, Sequence
from uuid import UUID

from litestar import Response, get, post

from gateway.console.links import DELIVERIES, SIGNATURE
from gateway.console.screens.webhooks.delivery import delivery_of
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.webhooks.signature_check import (
    SentWebhook,
    SignatureFinding,
    check_signature,
    read_headers,
)
from gateway.errors import BadRequest
from gateway.flows.read.deliveries import DeliveryLog
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

_READS = {"scope": Scope.ENDPOINTS_READ}
_MOST = 300_000
_SIGNED = ("webhook-id", "webhook-timestamp", "webhook-signature")


class SignatureView(In):
    """The delivery to compare with."""

    delivery: UUID | None = None


@get("/signature", opt=_READS)
async def show_signature(
    parameters: Injected[SignatureView], view: Injected[View]
) -> Response[bytes]:
    """The form; with a delivery it holds what was sent."""
    found = await delivery_of(view, parameters.delivery) if parameters.delivery else None
    sent = _sent(found)
    headers = _lines(sent[-1].headers) if sent else ""
    body = found.body if found and sent else ""
    return _page(view, found, {"headers": headers, "body": body}, ())


@post("/signature", status_code=200, opt=_READS)
async def check(view: Injected[View]) -> Response[bytes]:
    """The same form with what was found; nothing is stored."""
    found = await delivery_of(view, _delivery_id(view)) if view.form.get("delivery") else None
    fields = {name: _text(view, name) for name in ("headers", "body")}
    findings = check_signature(
        read_headers(fields["headers"]),
        fields["body"],
        _text(view, "secret").strip(),
        _sent(found),
        view.deps.clock.now().timestamp(),
    )
    return _page(view, found, fields, findings)


def _page(
    view: View,
    found: DeliveryLog | None,
    fields: Mapping[str, str],
    findings: Sequence[SignatureFinding],
) -> Response[bytes]:
    return view.page(
        "webhooks/signature.html",
        found=found,
        fields=fields,
        path=view.at(SIGNATURE),
        back=view.at(f"{DELIVERIES}/{found.delivery.id}" if found else DELIVERIES),
        findings=findings,
    )


def _sent(found: DeliveryLog | None) -> list[SentWebhook]:
    """The attempts whose headers are known, oldest first."""
    if found is None:
        return []
    headers: list[tuple[int, dict[str, str]]] = [
        (one.number, json.loads(one.request_headers)) for one in found.attempts
    ]
    return [
        SentWebhook(number, given, found.body)
        for number, given in headers
        if all(name in given for name in _SIGNED)
    ]


def _lines(headers: Mapping[str, str]) -> str:
    return "\n".join(f"{name}: {headers[name]}" for name in _SIGNED)


def _text(view: View, name: str) -> str:
    """A field of the form as it was typed: browsers send its line ends as CR LF."""
    text = view.form.get(name, "").replace("\r\n", "\n")
    if len(text) > _MOST:
        raise BadRequest.of(name, f"must have at most {_MOST:,} characters")
    return text


def _delivery_id(view: View) -> UUID:
    try:
        return UUID(view.form["delivery"])
    except ValueError:
        raise BadRequest.of("delivery", "must be the id of a delivery") from None


HANDLERS = [show_signature, check]
