"""The application: routers, guards and error responses, behind the front door."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple, cast

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


class Face(NamedTuple):
    """Pages below a path, served by the same process as the API, with an answer of their own to errors."""

    path: str
    routers: tuple[Router, ...]
    refuse: Callable[[AnyRequest, Exception], Response[bytes]]

    def has(self, path: str) -> bool:
        """Whether a path is one of its own."""
        return path == self.path or path.startswith(f"{self.path}/")


def create_app(
    deps: Deps,
    limits: HttpLimits | None = None,
    *,
    metrics: bool = True,
    faces: Sequence[Face] = (),
) -> FrontDoor:
    """The ASGI application; the caller opens and closes its dependencies.

    Without `metrics` it has no route /metrics; see create_metrics_app. `faces` are served beside the API.
    """
    context = Context.of(deps, limits or HttpLimits())
    documents.pages()  # rendered at start, so that no request waits
    return FrontDoor(context, routing(metrics=metrics, faces=tuple(faces)))


def create_metrics_app(app: FrontDoor) -> FrontDoor:
    """The application for a separate port: health, and the metrics of the main application."""
    inner = _inner([_open_router([*health.HANDLERS, *health.METRICS])])
    return FrontDoor(app.context, inner, accepts_jobs=False)


def create_pages_app(app: FrontDoor, faces: Sequence[Face]) -> FrontDoor:
    """The application for a separate port: health, and faces that the main application lacks."""
    routers = [router for face in faces for router in face.routers]
    inner = _inner([_open_router(health.HANDLERS), *routers], faces)
    return FrontDoor(app.context, inner, accepts_jobs=False)


@cache
def routing(*, metrics: bool, faces: tuple[Face, ...] = ()) -> App:
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
    return _inner([*routers, *(router for face in faces for router in face.routers)], faces)


def _inner(routers: list[Router], faces: Sequence[Face] = ()) -> App:
    def refuse(request: AnyRequest, error: Exception) -> Response[bytes]:
        found = next((face for face in faces if face.has(request.scope["path"])), None)
        return _problem(request, error) if found is None else found.refuse(request, error)

    inner = Litestar(
        routers,
        exception_handlers=dict.fromkeys((HTTPException, GatewayError, Exception), refuse),
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
