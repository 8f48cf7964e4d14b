"""The two OpenAPI documents: /schema/openapi.json has all but /api, which /schema/api.json has."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from gateway import __version__
from gateway.web.openapi.events import event_schemas, webhooks
from gateway.web.openapi.glossary import describe
from gateway.web.openapi.operations import (
    REFUSALS,
    Described,
    describe_operation,
    open_path,
)
from gateway.web.openapi.schemas import Json, error_codes, reference, schemas_of
from gateway.web.respond.problem_details import MEDIA_TYPE, Problem
from gateway.web.route_table import ANY_KEY, OPEN, OPERATOR, TENANT, Groups
from gateway.web.routes.jobs.workflow_forms import WorkflowNamed
from gateway.web.schemas.requests import Word

_HEADERS = (
    *("X-Request-Id", "Link", "ETag", "Retry-After", "Idempotency-Replayed"),
    *("Preference-Applied", "RateLimit", "RateLimit-Policy"),
)
_WELL_KNOWN = "/.well-known/"
_ABOUT = """Accepts jobs for many tenants, runs them upstream, keeps their history, delivers signed webhooks.

Every request needs an access key in the header `Authorization`, alone or after `Bearer `. Success is
200 with JSON. Errors are `application/problem+json`; compare the `code`. Times are ISO 8601 in UTC.
"""
_OLDER = "The same calls under `/api`, where a job's `workflow` is an object. "
_SCHEMES = {
    "accessKey": "The access key of a tenant, or a service key with the header Gateway-Tenant.",
    "operatorKey": "An operator's access key.",
}


@cache
def main_document() -> Json:
    """/v1, /admin/v1, and the routes without a key. The object is cached: do not change it."""
    parts = [
        *_described("/v1", TENANT, "accessKey"),
        *_described("/admin/v1", OPERATOR, "operatorKey"),
        *_described("", OPEN, None),
        *_described("", ANY_KEY, "accessKey", "/v1/"),
    ]
    return _document("Job gateway", _ABOUT, parts)


@cache
def older_document() -> Json:
    """The same calls under /api. The object is cached: do not change it."""
    parts = [
        *_described("/api", TENANT, "accessKey"),
        *_described("", ANY_KEY, "accessKey", "/api/"),
    ]
    document = _document("Job gateway: /api", _OLDER + _ABOUT, parts)
    _, named = schemas_of([WorkflowNamed])
    shapes = document["components"]["schemas"]
    shapes |= named
    job = shapes["JobOut"]
    text = "The upstream's workflow; if its name is not known, both fields hold the slug."
    job["properties"]["workflow"] = reference("WorkflowNamed") | {"description": text}
    job["examples"] = [
        one | {"workflow": {"id": one["workflow"], "name": one["workflow"]}}
        for one in job["examples"]
    ]
    return document


def _described(
    prefix: str, groups: Groups, key: str | None, within: str = ""
) -> list[tuple[str, str, Described]]:
    """The operations of handlers; of a handler with several paths, the one that begins with `within`."""
    return [
        (open_path(path), method, describe_operation(handler, path, tag, key))
        for tag, handlers in groups.items()
        for handler in handlers
        if handler.include_in_schema is not False
        for path, method in _places(prefix, handler, within)
    ]


def _places(prefix: str, handler: Any, within: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    paths = [path for path in handler.paths if path.startswith(within or "/")]
    for path in sorted(paths, key=len)[:1]:
        for method in sorted(handler.http_methods):
            yield prefix + path, str(getattr(method, "value", method)).lower()


def _document(title: str, text: str, parts: list[tuple[str, str, Described]]) -> Json:
    paths: Json = {}
    for path, method, described in parts:
        paths.setdefault(path, {})[method] = described.operation
    tags = dict.fromkeys(one.operation["tags"][0] for _, _, one in parts)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": text,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "..", "description": "The gateway that serves this document."}],
        "tags": [{"name": tag} for tag in (*tags, "Webhooks")],
        "paths": paths,
        "webhooks": webhooks(),
        "components": {
            "schemas": _schemas(parts),
            "responses": {name: _refusal(text) for name, text in REFUSALS.values()},
            "headers": {name: _header(name) for name in _HEADERS},
            "securitySchemes": {
                name: {"type": "http", "scheme": "bearer", "description": text}
                for name, text in _SCHEMES.items()
            },
        },
    }


def _schemas(parts: list[tuple[str, str, Described]]) -> Json:
    _, named = schemas_of([Problem, *Word.__subclasses__()])
    for _, _, described in parts:
        named |= described.schemas
    return dict(sorted((named | event_schemas() | {"ErrorCode": error_codes()}).items()))


def _refusal(text: str) -> Json:
    names = ["X-Request-Id", "RateLimit", "RateLimit-Policy"]
    if text in (REFUSALS[429][1], REFUSALS[503][1]):
        names.append("Retry-After")
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    content = {MEDIA_TYPE: {"schema": reference(Problem.__name__)}}
    return {"description": text, "headers": headers, "content": content}


def _header(name: str) -> Json:
    return {"description": describe("", name), "schema": {"type": "string"}}


def as_json(document: Json) -> bytes:
    """The document as JSON, with the same bytes each time."""
    return msgspec.json.encode(document)
