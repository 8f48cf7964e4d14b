"""GET /whoami: which access key a request came with, and what it may do."""

from collections.abc import Sequence

from litestar import get

from gateway import __version__
from gateway.core.model import KeyKind
from gateway.web.asgi.request_context import Caller
from gateway.web.auth import guard_any_key
from gateway.web.context import Context, Injected
from gateway.web.routes.admin.access_keys import owners
from gateway.web.schemas.admin_responses import RoleText, ScopeText, role_of_key
from gateway.web.schemas.responses import Out, Time, maybe_stamp


class Whoami(Out):
    """An access key, the tenant it acts for or those it may act for (null: all), and the version."""

    key_id: str
    kind: KeyKind
    name: str
    tenant: str | None
    tenants: Sequence[str] | None
    scopes: list[ScopeText]
    role: RoleText | None
    expires_at: Time | None
    version: str


@get(
    ["/v1/whoami", "/api/whoami", "/admin/v1/whoami"],
    guards=[guard_any_key],
    operation_id="whoami",
    summary="Read the access key of this request",
)
async def read_whoami(caller: Injected[Caller], context: Injected[Context]) -> Whoami:
    """Any key may call this, also while its tenant is suspended."""
    key = caller.key
    tenant, tenants = await owners(context.identities, key)
    return Whoami(
        key.key_id,
        key.kind,
        key.name,
        tenant,
        tenants,
        sorted(key.scopes),
        role_of_key(key),
        maybe_stamp(key.expires_at),
        __version__,
    )
