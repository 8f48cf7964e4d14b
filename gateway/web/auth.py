"""Authentication and authorization: from the access key of a request to its tenant."""

import re
from typing import Any, cast

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from gateway.core.model import AccessKey, KeyKind, Scope
from gateway.core.roles import least_role, role_of
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
from gateway.web.asgi.request_context import CONTEXT, STATE, Caller, RequestContext
from gateway.web.parse.json_body import read_body
from gateway.web.parse.large_bodies import read_large
from gateway.web.parse.query_string import read_query
from gateway.web.respond.ratelimit_headers import rate_headers
from gateway.web.schemas.requests import NoBody, NoQuery

AnyConnection = ASGIConnection[Any, Any, Any, Any]

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = "bearer "
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_WRITES = frozenset({Scope.JOBS_WRITE, Scope.ENDPOINTS_WRITE})


async def identify(
    identities: Authenticator,
    request_context: RequestContext,
    scope: Scope,
    *,
    or_scopes: tuple[Scope, ...] = (),
    across: bool = False,
    counted: bool = True,
) -> Caller:
    """Find the caller of a request to the tenant API and store it in the request's context.

    A tenant key acts for its tenant, unless the tenant is suspended. A service or operator key acts
    for the tenant that `Gateway-Tenant` names, and may read while that tenant is suspended; with
    `across` it may read without naming one. A key may have one of `or_scopes` instead of `scope`; the
    handler then checks what it may do. The request counts against the rate limit of its tenant.
    Raises Unauthorized, Forbidden, TenantSuspended, NotFound, BadRequest, RateLimited.
    """
    key = await _key(identities, request_context)
    require_scope(key, scope, *or_scopes)
    named = request_context.header(b"gateway-tenant").strip()
    if key.kind is KeyKind.TENANT:
        context = await _own_tenant(identities, key, named)
    else:
        if not named and b"gateway-tenant" in request_context.headers:
            # Perhaps from a variable that was not set. It must not widen what the key reads.
            reason = "is empty; name a tenant, or leave the header out to read across tenants"
            raise BadRequest.of("Gateway-Tenant", reason)
        context = await _named_tenant(identities, key, named, needs_one=not across)
    if context is not None and context.tenant.suspended_at is not None:
        _refuse_suspended(key, scope)
    request_context.caller = Caller(key, context)
    if counted and context is not None:
        await _count(identities, request_context, context)
    return request_context.caller


async def identify_operator(
    identities: Authenticator, request_context: RequestContext, or_scopes: tuple[Scope, ...] = ()
) -> Caller:
    """Find the operator of an administrative request; raises Unauthorized or Forbidden.

    Instead of the scope admin the key may have one of `or_scopes`.
    """
    key = await _key(identities, request_context)
    if key.kind is not KeyKind.OPERATOR:
        raise Forbidden("Administration needs an operator key.")
    require_scope(key, Scope.ADMIN, *or_scopes)
    return Caller(key, None)


async def identify_key(identities: Authenticator, request_context: RequestContext) -> Caller:
    """Find the key of a request; no scope is needed. Raises Unauthorized.

    With a tenant key the request counts against the tenant's rate limit; raises RateLimited.
    """
    key = await _key(identities, request_context)
    context = None if key.tenant_id is None else await identities.tenant_by_id(key.tenant_id)
    if context is not None:
        await _count(identities, request_context, context)
    request_context.caller = Caller(key, context)
    return request_context.caller


async def recheck(identities: Authenticator, caller: Caller) -> None:
    """Refuse a caller whose key ended or whose tenant was suspended after the request began.

    Raises Unauthorized, TenantSuspended, NotFound.
    """
    await identities.live(caller.key.key_id)
    if caller.tenant is not None:
        context = await identities.tenant_by_id(caller.tenant.id)
        if context.tenant.suspended_at is not None:
            _refuse_suspended(caller.key, Scope.JOBS_READ)


def require_scope(key: AccessKey, *scopes: Scope) -> None:
    """Raise Forbidden for a key that has none of these scopes."""
    if key.scopes.isdisjoint(scopes):
        lacks = f"The access key lacks the scope {' or '.join(scopes)}."
        raise Forbidden(
            lacks if key.kind is not KeyKind.OPERATOR else f"{lacks} {_roles(key, scopes)}"
        )


def _roles(key: AccessKey, scopes: tuple[Scope, ...]) -> str:
    """The role that an operator key has, and the one that it would need."""
    role = role_of(key.scopes)
    has = f"Its role is {role}" if role else "It has no role"
    return f"{has}; this needs the role {least_role(frozenset(scopes))}."


async def guard_tenant(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let callers in whose key has the scope that the handler names in its `opt`."""
    request_context: RequestContext = connection.scope["state"][STATE]
    scope: Scope = handler.opt["scope"]
    or_scopes: tuple[Scope, ...] = handler.opt.get("or_scopes", ())
    across = handler.opt.get("across", False)
    await identify(
        _identities(connection), request_context, scope, or_scopes=or_scopes, across=across
    )
    await _read_input(request_context, handler)


async def guard_operator(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let operators in."""
    request_context: RequestContext = connection.scope["state"][STATE]
    reads = cast("dict[str, object]", connection.scope)["method"] == "GET"
    or_scopes = (Scope.ADMIN_READ,) if reads else handler.opt.get("or_scopes", ())
    await identify_operator(_identities(connection), request_context, or_scopes)
    await _read_input(request_context, handler)


async def guard_any_key(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let callers with any access key in."""
    request_context: RequestContext = connection.scope["state"][STATE]
    await identify_key(_identities(connection), request_context)
    await _read_input(request_context, handler)


async def guard_public(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Let everybody in; only the query string is read."""
    _read_query(connection.scope["state"][STATE], handler)


def _read_query(request_context: RequestContext, handler: BaseRouteHandler) -> None:
    # Read in the guard, so that every handler refuses unknown parameters.
    request_context.parameters = read_query(
        handler.opt.get("query", NoQuery), request_context.query
    )


async def _read_input(request_context: RequestContext, handler: BaseRouteHandler) -> None:
    _read_query(request_context, handler)
    if request_context.method in _WITHOUT_BODY:  # a body has no meaning (RFC 9110, 9.3.1)
        return
    require_unconditional(request_context.method, request_context.headers)
    await request_context.take_body()
    if "body" not in handler.opt and request_context.body:
        await read_large(len(request_context.body), read_body, NoBody, request_context.body)


async def _count(
    identities: Authenticator, request_context: RequestContext, context: TenantContext
) -> None:
    allowance = await identities.allowance(context.tenant)
    if allowance is None:
        return
    request_context.response_headers += rate_headers(
        "rate", allowance.limit, allowance.remaining, allowance.reset
    )
    if not allowance.allowed:
        raise RateLimited(
            f"The tenant may make {allowance.limit} requests a second. Try again in a moment.",
            retry_after=allowance.reset,
        )


def _identities(connection: AnyConnection) -> Authenticator:
    return connection.scope["state"][CONTEXT].identities


async def _key(identities: Authenticator, request_context: RequestContext) -> AccessKey:
    text = request_context.header(b"authorization")
    if text[: len(_BEARER)].lower() == _BEARER:
        text = text[len(_BEARER) :].lstrip()
    if not text:
        raise Unauthorized("There is no access key. Send it in the header Authorization.")
    key = await identities.identify(text)
    request_context.caller = Caller(key, None)
    return key


async def _own_tenant(identities: Authenticator, key: AccessKey, named: str) -> TenantContext:
    if key.tenant_id is None:
        raise Unauthorized("The access key belongs to no tenant.")
    context = await identities.tenant_by_id(key.tenant_id)
    if named and named != context.tenant.slug:
        raise Forbidden("Gateway-Tenant: a tenant key acts for its own tenant only.")
    return context


async def _named_tenant(
    identities: Authenticator, key: AccessKey, named: str, *, needs_one: bool
) -> TenantContext | None:
    if not named:
        if needs_one:
            article = "an" if key.kind is KeyKind.OPERATOR else "a"
            raise BadRequest.of(
                "Gateway-Tenant",
                f"{article} {key.kind} key has to name the tenant it acts for",
            )
        return None
    if not _SLUG.fullmatch(named):  # it is not looked up, not cached and not shown in the message
        raise NotFound("There is no tenant of that name. Gateway-Tenant takes a tenant's slug.")
    context = await identities.tenant(named)
    if key.tenants is not None and context.tenant.id not in key.tenants:
        raise NotFound(f"There is no tenant '{named}'.")
    return context


def _refuse_suspended(key: AccessKey, scope: Scope) -> None:
    if key.kind is KeyKind.TENANT or scope in _WRITES:
        raise TenantSuspended("The tenant is suspended. Only an operator can resume it.")
