"""Who may do what: from the access key of a request to the tenant that it acts for."""

import re
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from gateway.core.model import AccessKey, KeyKind, Scope
from gateway.errors import (
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    TenantSuspended,
    Unauthorized,
)
from gateway.flows.accept.authenticate import Authenticator, TenantContext
from gateway.web.asgi.etags import require_unconditional
from gateway.web.asgi.request_context import STATE, Caller, RequestContext
from gateway.web.parse.json_body import read_body
from gateway.web.parse.large_bodies import read_aside
from gateway.web.parse.query_string import read_query
from gateway.web.respond.ratelimit_headers import rate_headers
from gateway.web.schemas.requests import NoBody, NoQuery

AnyConnection = ASGIConnection[Any, Any, Any, Any]

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = "bearer "
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_WRITES = frozenset({Scope.JOBS_WRITE, Scope.ENDPOINTS_WRITE})


async def identify(
    identities: Authenticator,
    envelope: RequestContext,
    scope: Scope,
    *,
    or_scope: Scope | None = None,
    across: bool = False,
    counted: bool = True,
) -> Caller:
    """Find the caller of a tenant-facing request and note it in the envelope.

    Tenant keys act for their tenant, and for nobody while it is suspended. Service keys act for
    the tenant that `Gateway-Tenant` names, and while it is suspended they may still read;
    `across` says that they may read without naming one. A key may have `or_scope` instead of
    `scope`; what it may not do with that is the handler's to refuse. A request is counted
    against the rate of its tenant. Raises Unauthorized, Forbidden, TenantSuspended, NotFound,
    BadRequest, RateLimited.
    """
    key = await _key(identities, envelope)
    if key.kind is KeyKind.OPERATOR:
        raise Forbidden("An operator key is for /admin/v1 only. Use a tenant or a service key.")
    need(key, scope, *(() if or_scope is None else (or_scope,)))
    named = envelope.header(b"gateway-tenant").strip()
    if key.kind is KeyKind.TENANT:
        context = await _own(identities, key, named)
    else:
        if not named and b"gateway-tenant" in envelope.headers:
            # Such as from a variable that was not set; it must not widen what is read.
            reason = "is empty; name a tenant, or leave the header out to read across tenants"
            raise BadRequest.of("Gateway-Tenant", reason)
        context = await _named(identities, key, named, needs_one=not across)
    if context is not None and context.tenant.suspended_at is not None:
        _refuse_suspended(key, scope)
    envelope.caller = Caller(key, context)
    if counted and context is not None:
        await _count(identities, envelope, context)
    return envelope.caller


async def identify_operator(
    identities: Authenticator, envelope: RequestContext, *, reads: bool = False
) -> Caller:
    """Find the operator of an administrative request; raises Unauthorized or Forbidden.

    A request that only `reads` is allowed with the scope admin:read as well.
    """
    key = await _key(identities, envelope)
    if key.kind is not KeyKind.OPERATOR:
        raise Forbidden("Administration needs an operator key.")
    need(key, Scope.ADMIN, *((Scope.ADMIN_READ,) if reads else ()))
    return Caller(key, None)


async def identify_key(identities: Authenticator, envelope: RequestContext) -> Caller:
    """Find the key of a request, whatever it may do; raises Unauthorized.

    A tenant's own key counts against the tenant's rate; raises RateLimited.
    """
    key = await _key(identities, envelope)
    context = None if key.tenant_id is None else await identities.tenant_by_id(key.tenant_id)
    if context is not None:
        await _count(identities, envelope, context)
    envelope.caller = Caller(key, context)
    return envelope.caller


async def admit(identities: Authenticator, caller: Caller) -> None:
    """Refuse a reader whose key has ended, or whose tenant is suspended, since it was identified.

    Raises Unauthorized, TenantSuspended, NotFound.
    """
    await identities.live(caller.key.key_id)
    if caller.tenant is not None:
        context = await identities.tenant_by_id(caller.tenant.id)
        if context.tenant.suspended_at is not None:
            _refuse_suspended(caller.key, Scope.JOBS_READ)


def need(key: AccessKey, *scopes: Scope) -> None:
    """Refuse a key that has none of these scopes; raises Forbidden."""
    if key.scopes.isdisjoint(scopes):
        raise Forbidden(f"The access key lacks the scope {' or '.join(scopes)}.")


async def guard_tenant(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let callers in that have a scope which the handler names in its `opt`."""
    envelope: RequestContext = connection.scope["state"][STATE]
    scope: Scope = handler.opt["scope"]
    or_scope: Scope | None = handler.opt.get("or_scope")
    across = handler.opt.get("across", False)
    await identify(_identities(connection), envelope, scope, or_scope=or_scope, across=across)
    await _read(envelope, handler)


async def guard_operator(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let operators in."""
    envelope: RequestContext = connection.scope["state"][STATE]
    reads = cast("dict[str, object]", connection.scope)["method"] == "GET"
    await identify_operator(_identities(connection), envelope, reads=reads)
    await _read(envelope, handler)


async def guard_any_key(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let everybody in that has a key."""
    envelope: RequestContext = connection.scope["state"][STATE]
    await identify_key(_identities(connection), envelope)
    await _read(envelope, handler)


async def guard_nobody(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let everybody in."""
    _read_query(connection.scope["state"][STATE], handler)


def _read_query(envelope: RequestContext, handler: BaseRouteHandler) -> None:
    # Here and not in a dependency, so that no handler can forget to refuse what it does not know.
    envelope.parameters = read_query(handler.opt.get("query", NoQuery), envelope.query)


async def _read(envelope: RequestContext, handler: BaseRouteHandler) -> None:
    _read_query(envelope, handler)
    if envelope.method in _BODILESS:  # a body means nothing there (RFC 9110, 9.3.1)
        return
    require_unconditional(envelope.method, envelope.headers)
    await envelope.take_body()
    if "body" not in handler.opt and envelope.body:
        await read_aside(len(envelope.body), read_body, NoBody, envelope.body)


async def _count(
    identities: Authenticator, envelope: RequestContext, context: TenantContext
) -> None:
    allowance = await identities.allowance(context.tenant)
    if allowance is None:
        return
    envelope.notes += rate_headers("rate", allowance.limit, allowance.remaining, allowance.reset)
    if not allowance.allowed:
        raise RateLimited(
            f"The tenant may make {allowance.limit} requests a second. Try again in a moment.",
            retry_after=allowance.reset,
        )


def _identities(connection: AnyConnection) -> Authenticator:
    return connection.app.state.context.identities


async def _key(identities: Authenticator, envelope: RequestContext) -> AccessKey:
    text = envelope.header(b"authorization")
    if text[: len(_BEARER)].lower() == _BEARER:
        text = text[len(_BEARER) :].lstrip()
    if not text:
        raise Unauthorized("There is no access key. Send it in the header Authorization.")
    key = await identities.identify(text)
    envelope.caller = Caller(key, None)
    return key


async def _own(identities: Authenticator, key: AccessKey, named: str) -> TenantContext:
    if key.tenant_id is None:
        raise Unauthorized("The access key belongs to no tenant.")
    context = await identities.tenant_by_id(key.tenant_id)
    if named and named != context.tenant.slug:
        raise Forbidden("Gateway-Tenant: a tenant key acts for its own tenant only.")
    return context


async def _named(
    identities: Authenticator, key: AccessKey, named: str, *, needs_one: bool
) -> TenantContext | None:
    if not named:
        if needs_one:
            raise BadRequest.of(
                "Gateway-Tenant", "a service key has to name the tenant it acts for"
            )
        return None
    if not _SLUG.fullmatch(named):  # neither asked for nor remembered, nor said again
        raise NotFound("There is no tenant of that name. Gateway-Tenant takes a tenant's slug.")
    context = await identities.tenant(named)
    if key.tenants is not None and context.tenant.id not in key.tenants:
        raise NotFound(f"There is no tenant '{named}'.")
    return context


def _refuse_suspended(key: AccessKey, scope: Scope) -> None:
    if key.kind is KeyKind.TENANT or scope in _WRITES:
        raise TenantSuspended("The tenant is suspended. Only an operator can let it go on.")
