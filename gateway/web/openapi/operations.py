"""One operation of the document: the parameters, body and responses of a handler."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from litestar import Response
from litestar.handlers import HTTPRouteHandler

from gateway.web.openapi.glossary import describe
from gateway.web.openapi.schemas import Json, schemas_of
from gateway.web.parse.query_string import shape_of
from gateway.web.schemas.requests import In, NoQuery

_JSON, _OK = "application/json", 200
_PLACEHOLDER = re.compile(r"\{(\w+):(\w+)\}")
_CONDITIONAL, _REPEATABLE = "If-None-Match", "Idempotency-Key"
_KEY_PATTERN = "^[ -~]{1,255}$"
_PAGED = frozenset({"cursor", "after"})

# Errors by HTTP status: the name among `components.responses`, and the description.
REFUSALS = {
    400: ("BadRequest", "The request is wrong; `errors` names every wrong field."),
    401: ("Unauthorized", "The access key is missing or not valid."),
    403: ("Forbidden", "The access key may not do this, or the tenant is suspended."),
    404: ("NotFound", "It does not exist, or belongs to another tenant."),
    408: ("RequestTimeout", "The body did not arrive in time."),
    409: ("Conflict", "The request conflicts with the current state."),
    412: ("PreconditionFailed", "Changes cannot depend on a version: send no If-Match."),
    413: ("PayloadTooLarge", "The body is too large."),
    415: ("UnsupportedMediaType", "The body must be JSON in UTF-8, not compressed."),
    422: ("IdempotencyKeyReused", "The Idempotency-Key was used before with another body."),
    429: ("RateLimited", "Too many requests, or too many waiting jobs."),
    500: ("InternalError", "A bug in the gateway; search its logs for the request id."),
    502: (
        "UpstreamUnavailable",
        "The upstream is needed for the response and did not answer with one that is usable.",
    ),
    503: ("Unavailable", "The database is away. Nothing was accepted."),
    504: ("UpstreamTimeout", "The upstream is needed for the response and did not answer in time."),
}
_UPSTREAM = (502, 504)


class Described(NamedTuple):
    """An operation, and the schemas that it refers to, by name."""

    operation: Json
    schemas: Json


def open_path(path: str) -> str:
    """A path as OpenAPI writes it: `{job_id}` where Litestar has `{job_id:uuid}`."""
    return _PLACEHOLDER.sub(r"{\1}", path)


def describe_operation(
    handler: HTTPRouteHandler, path: str, tag: str, key: str | None
) -> Described:
    """Describe a handler at a path; `key` is the security scheme that it needs, if any."""
    parameters, schemas = _parameters(handler, path)
    operation: Json = {
        "operationId": handler.operation_id or _camel(handler.fn.__name__),
        "summary": handler.summary or "",
        "description": _text(handler),
        "tags": [tag],
        "parameters": parameters,
    }
    body = handler.opt.get("body")
    if body is not None:
        [shape], found = schemas_of([body])
        schemas |= found
        required = any(field.required for field in msgspec.structs.fields(body))
        operation["requestBody"] = {"required": required, "content": {_JSON: {"schema": shape}}}
    operation["responses"], found = _responses(handler, path, key)
    operation["security"] = [] if key is None else [{key: []}]
    return Described(
        {name: part for name, part in operation.items() if part != []}
        | {"security": operation["security"]},
        schemas | found,
    )


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _text(handler: HTTPRouteHandler) -> str:
    lines = (handler.fn.__doc__ or "").strip().splitlines()
    text = "\n".join(line.strip() for line in lines)
    scopes = (
        [handler.opt["scope"], *handler.opt.get("or_scopes", ())] if "scope" in handler.opt else []
    )
    needs = " or ".join(f"`{scope}`" for scope in scopes)
    return f"{text}\n\nNeeds the scope {needs}." if needs else text


def _parameters(handler: HTTPRouteHandler, path: str) -> tuple[list[Json], Json]:
    found: list[Json] = []
    schemas: Json = {}
    for name, converter in _PLACEHOLDER.findall(path):
        shape: Json = {"type": "string"} | ({"format": "uuid"} if converter == "uuid" else {})
        found.append(_parameter("", name, "path", shape, required=True))
    kind: type[In] = handler.opt.get("query", NoQuery)
    for field in msgspec.structs.fields(kind):
        [shape], more = schemas_of([_without_null(field.type)])
        schemas |= more
        found.append(_query_parameter(kind.__name__, field, shape))
    headers = ["Gateway-Tenant"] if "scope" in handler.opt else []
    for name in (*headers, *handler.opt.get("headers", ())):
        shape = {"type": "string"}
        if name == _REPEATABLE:
            shape["pattern"] = _KEY_PATTERN
        found.append(_parameter("", name, "header", shape))
    return found, schemas


def _query_parameter(owner: str, field: msgspec.structs.FieldInfo, shape: Json) -> Json:
    name = field.encode_name
    if shape_of(field.type) is dict:
        shape = {"type": "object", "additionalProperties": {"type": "string"}}
        return _parameter(owner, name, "query", shape) | {"style": "deepObject", "explode": True}
    return _parameter(owner, name, "query", shape, required=field.required)


def _parameter(owner: str, name: str, place: str, shape: Json, *, required: bool = False) -> Json:
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": describe(owner, name),
        "schema": shape,
    }


def _without_null(kind: Any) -> Any:  # noqa: ANN401 - any type can be described
    options = [one for one in get_args(kind) if one is not type(None)]
    return options[0] if type(None) in get_args(kind) and len(options) == 1 else kind


def _responses(handler: HTTPRouteHandler, path: str, key: str | None) -> tuple[Json, Json]:
    responses: Json = {}
    schemas: Json = {}
    specs = handler.responses or {}
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in _headers(handler)}
    for status in sorted(specs) or [_OK]:
        spec = specs.get(status)
        kind: Any = getattr(spec, "data_container", None) or _response_type(handler)
        media_type = spec.media_type if spec else _JSON
        shape, found = _any_of(kind)
        schemas |= found
        content = {str(getattr(media_type, "value", media_type)): {"schema": shape}}
        content |= {more: {"schema": {"type": "string"}} for more in handler.opt.get("media", ())}
        told = {"description": _summary_of(kind), "headers": headers, "content": content}
        responses[str(status)] = told
    if _CONDITIONAL in handler.opt.get("headers", ()):
        text = "Not changed since the version in If-None-Match; there is no body."
        responses["304"] = {"description": text}
    for status in _refusals(handler, path, key):
        name = REFUSALS[status][0]
        responses.setdefault(str(status), {"$ref": f"#/components/responses/{name}"})
    return dict(sorted(responses.items())), schemas


def _response_type(handler: HTTPRouteHandler) -> Any:  # noqa: ANN401
    kind = get_type_hints(handler.fn)["return"]
    return get_args(kind)[0] if get_origin(kind) is Response else kind


def _any_of(kind: Any) -> tuple[Json, Json]:  # noqa: ANN401
    """The schema of a type; of a union, `anyOf` the schemas of its types."""
    options = get_args(kind) if get_origin(kind) not in (list, dict) else ()
    shapes, schemas = schemas_of(options or [kind])
    return (shapes[0] if len(shapes) == 1 else {"anyOf": shapes}), schemas


def _summary_of(kind: Any) -> str:  # noqa: ANN401
    own = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    return (kind.__doc__ or "").partition("\n")[0] if own else "Done."


def _headers(handler: HTTPRouteHandler) -> Iterator[str]:
    yield "X-Request-Id"
    read = handler.opt.get("headers", ())
    kind: type[In] = handler.opt.get("query", NoQuery)
    if not _PAGED.isdisjoint(kind.__struct_fields__):
        yield "Link"
    if _CONDITIONAL in read:
        yield "ETag"
    if _REPEATABLE in read:
        yield "Idempotency-Replayed"
    if "Prefer" in read:
        yield "Preference-Applied"
    if "scope" in handler.opt:
        yield from ("RateLimit", "RateLimit-Policy")


def _refusals(handler: HTTPRouteHandler, path: str, key: str | None) -> Iterator[int]:
    """The HTTP statuses of the errors that a handler may answer with."""
    writes = not {"GET"}.issuperset(map(str, handler.http_methods))
    yield from (400, 500, 503)
    if key is not None:
        yield from (401, 403, 429)
    if "{" in path or "scope" in handler.opt:
        yield 404
    if writes:
        yield from (408, 409, 412, 413, 415)
    if _REPEATABLE in handler.opt.get("headers", ()):
        yield 422
    if handler.opt.get("upstream"):
        yield from (409, *_UPSTREAM)
