"""OpenAPI at /schema/openapi.json: Litestar's, with what this package reads and answers by hand."""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme
from litestar.routes import HTTPRoute
from typing_extensions import override

from gateway import __version__
from gateway.web.context import AnyRequest
from gateway.web.parameters import shape_of
from gateway.web.problems import MEDIA_TYPE, Problem
from gateway.web.wire import In, NoQuery

Json: TypeAlias = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_KEY = "accessKey"
_OPEN = re.compile(r"/(health|schema|((v1|api)/)?\.well-known)/")
_HEADERS = {
    "Gateway-Tenant": "The slug of the tenant that a service key acts for.",
    "Idempotency-Key": "1 to 255 characters. The same key with the same body makes no second job.",
    "Prefer": "`wait=N` answers the finished job, or its status after N seconds, at most 60.",
    "If-None-Match": "The ETag of the job as the caller knows it.",
    "Last-Event-ID": "The last id that the stream showed, to go on behind it.",
}


class _Rendered(JsonRenderPlugin):
    """The document as JSON, and no pages that would load scripts from elsewhere."""

    @override
    def render(self, request: AnyRequest, openapi_schema: Json) -> bytes:
        return msgspec.json.encode(_completed(request.app, openapi_schema))


def openapi_config() -> OpenAPIConfig:
    """What Litestar is to describe, and where."""
    scheme = SecurityScheme(
        type="apiKey", name="Authorization", security_scheme_in="header", description="Access key"
    )
    return OpenAPIConfig(
        title="Job gateway",
        version=__version__,
        path="/schema",
        render_plugins=[_Rendered(path="/openapi.json")],
        components=Components(security_schemes={_KEY: scheme}),
        use_handler_docstrings=True,
    )


def _completed(app: Litestar, schema: Json) -> Json:
    kinds: list[Any] = [Problem]
    for path, method, handler in _operations(app):
        operation = schema["paths"].get(path, {}).get(method)
        if operation is not None:
            kinds += _complete(operation, path, handler)
    _, shapes = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    schema["components"]["schemas"] |= shapes
    return schema


def _operations(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                for method in handler.http_methods:
                    yield route.path_format, str(method).lower(), handler


def _complete(operation: Json, path: str, handler: HTTPRouteHandler) -> list[Any]:
    """Add what a handler reads by hand; the types that this names."""
    operation["responses"].pop("400", None)
    operation["responses"]["default"] = _problem()
    if not _OPEN.match(path):
        operation["security"] = [{_KEY: []}]
    parameters: list[Json] = operation.setdefault("parameters", [])
    headers = ["Gateway-Tenant"] if "scope" in handler.opt else []
    parameters += map(_header, [*headers, *handler.opt.get("headers", ())])
    parameters += _parameters(handler.opt.get("query", NoQuery))
    if "body" not in handler.opt:
        return []
    operation["requestBody"] = _json_body(handler.opt["body"])
    return [handler.opt["body"]]


def _header(name: str) -> Json:
    text = {"type": "string"}
    return {"name": name, "in": "header", "description": _HEADERS[name], "schema": text}


def _parameters(kind: type[In]) -> Iterator[Json]:
    for field in msgspec.structs.fields(kind):
        name, shape = field.encode_name, msgspec.json.schema(field.type)
        if shape_of(field.type) is dict:
            name, shape = f"{name}.<key>", {"type": "array", "items": {"type": "string"}}
        yield {"name": name, "in": "query", "required": field.required, "schema": shape}


def _json_body(kind: type[msgspec.Struct]) -> Json:
    return {"required": True, "content": _content("application/json", kind)}


def _problem() -> Json:
    return {"description": "Refused", "content": _content(MEDIA_TYPE, Problem)}


def _content(media_type: str, kind: type[msgspec.Struct]) -> Json:
    return {media_type: {"schema": {"$ref": _REFERENCE.format(name=kind.__name__)}}}
