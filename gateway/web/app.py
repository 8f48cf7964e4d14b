"""The application: routers, guards and error responses, behind the front door."""

from functools import cache
from typing import Any, cast

from litestar import Litestar, Response, Router
from litestar.exceptions import HTTPException, NotFoundException

from gateway.errors import GatewayError
from gateway.flows.deps import Deps
from gateway.web.asgi.types import AnyRequest, App
from gateway.web.auth import guard_operator, guard_tenant
from gateway.web.capacity.limits import HttpLimits
from gateway.web.context import (
    Context,
    operator_dependencies,
    request_context_of,
    tenant_dependencies,
)
from gateway.web.front_door import FrontDoor
from gateway.web.not_found import not_found_at
from gateway.web.openapi import handlers as documents
from gateway.web.respond.problem_details import MEDIA_TYPE, problem_of
from gateway.web.route_table import ANY_KEY, OPEN, OPERATOR, TENANT, flat
from gateway.web.routes import health


def create_app(deps: Deps, limits: HttpLimits | None = None, *, metrics: bool = True) -> FrontDoor:
    """The ASGI application; the caller opens and closes its dependencies.

    Without `metrics` it has no route /metrics; see create_metrics_app.
    """
    context = Context.of(deps, limits or HttpLimits())
    documents.pages()  # rendered at start, so that no request waits
    return FrontDoor(context, routing(metrics=metrics))


def create_metrics_app(app: FrontDoor) -> FrontDoor:
    """The application for a separate port: health, and the metrics of the main application."""
    return FrontDoor(app.context, _inner([_open_router([*health.HANDLERS, *health.METRICS])]))


@cache
def routing(*, metrics: bool) -> App:
    """The part of Litestar. It holds no state, so all applications of a process share it."""
    operator = Router(
        "/admin/v1",
        route_handlers=flat(OPERATOR),
        guards=[guard_operator],
        dependencies=operator_dependencies(),
    )
    handlers = [*flat(OPEN), *flat(ANY_KEY), *documents.HANDLERS]
    opened = _open_router([*handlers, *(health.METRICS if metrics else ())])
    routers = [*(_tenant_router(path) for path in ("/v1", "/api")), operator, opened]
    return _inner(routers)


def _inner(routers: list[Router]) -> App:
    inner = Litestar(
        routers,
        exception_handlers={HTTPException: _problem, GatewayError: _problem, Exception: _problem},
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # the front door limits it
    )
    return cast("App", inner)


def _open_router(handlers: list[Any]) -> Router:
    return Router("/", route_handlers=handlers, dependencies=operator_dependencies())


def _tenant_router(path: str) -> Router:
    return Router(
        path,
        route_handlers=flat(TENANT),
        guards=[guard_tenant],
        dependencies=tenant_dependencies(),
    )


def _problem(request: AnyRequest, error: Exception) -> Response[bytes]:
    if isinstance(error, NotFoundException):
        error = not_found_at(request.scope["path"])
    request_context = request_context_of(request)
    told = problem_of(error, request_context.request_id, request_context.trace_id)
    refusal, headers, body = told
    return Response(body, status_code=refusal.status, headers=headers, media_type=MEDIA_TYPE)
