"""Forms: the fields of a body that a browser sent, and the token that proves that a page of ours sent it."""

import hmac
from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import parse_qs, urlencode

from msgspec import structs

from gateway.errors import BadRequest, Forbidden, PayloadTooLarge
from gateway.flows.admin.sessions import Session
from gateway.web.asgi.request_context import RequestContext
from gateway.web.parse.query_string import read_query
from gateway.web.schemas.requests import In

T = TypeVar("T", bound=In)

_MOST_FIELDS = 1_000
_MOST_BYTES = 16_384
_FIELD = "csrf"
_HEADER = b"x-csrf-token"
# What Sec-Fetch-Site says of a request that no other site caused.
_OURS = frozenset({"", "same-origin", "none"})


async def read_form(request_context: RequestContext) -> Mapping[str, str]:
    """The fields of a form, the first value of each; raises BadRequest."""
    await request_context.take_body()
    try:
        found = parse_qs(
            request_context.body.decode(),
            keep_blank_values=True,
            max_num_fields=_MOST_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise BadRequest("The form cannot be read.") from None
    if any("\0" in value for values in found.values() for value in values):
        raise BadRequest("A field of the form has a NUL character.")
    return {name: values[0] for name, values in found.items()}


def require_small(request_context: RequestContext) -> None:
    """Refuse a large form before it is read: from people who are not signed in; raises PayloadTooLarge."""
    length = request_context.header(b"content-length")
    if not length.isdigit() or int(length[:9]) > _MOST_BYTES:
        raise PayloadTooLarge(f"The form is larger than {_MOST_BYTES} bytes, or has no length.")


def form_as(kind: type[T], form: Mapping[str, str]) -> T:
    """The fields of a form that a struct has, checked as the API checks them; empty ones count as left out.

    Raises BadRequest that names every wrong field.
    """
    names = {field.encode_name for field in structs.fields(kind)}
    given = {name: form[name].strip() for name in names & form.keys()}
    return read_query(
        kind, urlencode({name: text for name, text in given.items() if text}).encode()
    )


def require_own_site(request_context: RequestContext) -> None:
    """Refuse what another site made a browser send; raises Forbidden."""
    if request_context.header(b"sec-fetch-site") not in _OURS:
        raise Forbidden("This was sent by another site. Open the page here and try again.")


def require_token(
    request_context: RequestContext, form: Mapping[str, str], session: Session
) -> None:
    """Refuse a write without the CSRF token of its session; raises Forbidden."""
    given = request_context.header(_HEADER) or form.get(_FIELD, "")
    if not hmac.compare_digest(given.encode(), session.csrf_token.encode()):
        raise Forbidden("The page is too old to send this. Load it again and repeat what you did.")
