"""The dependencies of the handlers: the parts of the process, the caller, and the input."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar, get_args, get_type_hints

import msgspec
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from gateway.core.model import Tenant
from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.accept.authenticate import Authenticator
from gateway.flows.deps import Deps
from gateway.flows.health.overview import Overviews
from gateway.flows.settle.usage_days import UsageDays
from gateway.flows.settle.watchers import Watchers
from gateway.flows.upstream.passthrough import Workflows
from gateway.web.asgi.read_body import BodyRoom
from gateway.web.asgi.request_context import CONTEXT, STATE, Caller, RequestContext
from gateway.web.asgi.types import AnyRequest
from gateway.web.capacity.limits import HttpLimits
from gateway.web.capacity.long_requests import LongRequests
from gateway.web.parse.json_body import read_body
from gateway.web.parse.large_bodies import read_large
from gateway.web.respond.concurrency_limits import (
    ConcurrencyLimit,
    export_limit,
    sample_limit,
    stream_limit,
)

T = TypeVar("T")
# A dependency, named by its parameter. This module makes it, so Litestar need not validate it.
Injected: TypeAlias = NamedDependency[SkipValidation[T]]
# Parameters of handlers, and their options. Litestar reserves the names `body` and `query`.
_INPUTS = {"payload": "body", "parameters": "query"}


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one process of the API."""

    deps: Deps
    identities: Authenticator
    acceptor: Acceptor
    workflows: Workflows
    watchers: Watchers
    streams: ConcurrencyLimit
    exports: ConcurrencyLimit
    overviews: Overviews
    limits: HttpLimits
    bodies: BodyRoom
    long_requests: LongRequests
    samples: ConcurrencyLimit
    usage_days: UsageDays
    # Held while a large usage report is computed.
    usage_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def of(cls, deps: Deps, limits: HttpLimits) -> "Context":
        """Make the parts, and subscribe them to announcements of other processes."""
        identities, watchers = Authenticator(deps), Watchers(deps)
        long_requests = LongRequests(deps, identities)
        deps.queue.listen(identities.forget)
        deps.queue.listen(deps.sessions.hear)
        deps.queue.listen(watchers.hear)
        deps.queue.listen(long_requests.hear)  # after the cached keys were forgotten
        return cls(
            deps,
            identities,
            Acceptor(deps),
            Workflows(deps),
            watchers,
            stream_limit(),
            export_limit(),
            Overviews(deps),
            limits,
            BodyRoom(limits.max_body_bytes, limits.body_memory_bytes),
            long_requests,
            sample_limit(),
            UsageDays(deps),
        )


def request_context_of(request: AnyRequest) -> RequestContext:
    """The context that the front door made for a request."""
    return request.scope["state"][STATE]


async def _context(request: AnyRequest) -> Context:
    return request.scope["state"][CONTEXT]


async def _deps(request: AnyRequest) -> Deps:
    return (await _context(request)).deps


async def _caller(request: AnyRequest) -> Caller:
    return request_context_of(request).required_caller


async def _tenant(request: AnyRequest) -> Tenant:
    return (await _caller(request)).required_context.tenant


async def _payload(request: AnyRequest) -> msgspec.Struct:
    body = request_context_of(request).body or b"{}"
    return await read_large(len(body), read_body, request.route_handler.opt["body"], body)


async def _parameters(request: AnyRequest) -> msgspec.Struct | None:
    return request_context_of(request).parameters


def declare_inputs(handler: Any) -> None:  # noqa: ANN401 - Litestar's decorators, of any method
    """Store the annotated types of a handler's `payload` and `parameters` in its `opt`.

    The guards and the OpenAPI document read them there. Raises TypeError if `opt` has one.
    """
    hints = get_type_hints(handler.fn, include_extras=True)
    for name, option in _INPUTS.items():
        if name in hints:
            if option in handler.opt:
                raise TypeError(f"{handler.fn.__name__} declares its {option} twice")
            handler.opt[option] = get_args(hints[name])[0]


def tenant_dependencies() -> dict[str, Provide]:
    """Dependencies of handlers that act for a tenant."""
    return {**operator_dependencies(), "tenant": Provide(_tenant)}


def operator_dependencies() -> dict[str, Provide]:
    """Dependencies of all handlers: `payload` is the body, `parameters` is the query string."""
    return {
        "context": Provide(_context),
        "deps": Provide(_deps),
        "caller": Provide(_caller),
        "payload": Provide(_payload),
        "parameters": Provide(_parameters),
    }
