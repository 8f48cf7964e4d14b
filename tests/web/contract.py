"""Compares an answer with the OpenAPI document that describes its path."""

import re
from functools import cache
from typing import Any

import httpx

from gateway.web.openapi.document import main_document, older_document
from tests.web.shape import misfits

# Errors that come before the operation of a request is known.
_BEFORE = frozenset({400, 404, 405, 412, 431, 500, 503})
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_OK = 200
_REFUSED = 400


def breaches(answer: httpx.Response) -> list[str]:
    """The differences between an answer and the document: status, media type, headers, body."""
    request = answer.request
    document, operation = _found(request.method, request.url.path)
    if operation is None or request.method == "HEAD":
        return []
    where = f"{request.method} {request.url.path} {answer.status_code}"
    described = operation["responses"].get(str(answer.status_code))
    if described is None:
        known = answer.status_code in _BEFORE
        return [] if known else [f"{where}: this status is not described"]
    if "$ref" in described:
        described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
    return [f"{where}: {one}" for one in _misfits(document, described, answer)]


def _misfits(document: Any, described: Any, answer: httpx.Response) -> list[str]:
    content = described.get("content", {})
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    if not content:
        return [] if answer.content == b"" else ["there is a body"]
    if media_type not in content:
        return [f"{media_type!r} is not one of {list(content)}"]
    named = {name.lower() for name in document["components"]["headers"]}
    told = {name.lower() for name in described.get("headers", {})}
    extra = [f"the header {one} is not described" for one in named & set(answer.headers) - told]
    if not media_type.endswith("json") or media_type.startswith("application/x-"):
        return extra
    return extra + misfits(document, content[media_type]["schema"], answer.json())


def _found(method: str, path: str) -> tuple[Any, Any]:
    document = older_document() if path.startswith("/api/") else main_document()
    for pattern, operations in _patterns(path.startswith("/api/")):
        if pattern.fullmatch(path) and method.lower() in operations:
            return document, operations[method.lower()]
    return document, None


@cache
def _patterns(older: bool) -> list[tuple[re.Pattern[str], Any]]:
    paths = (older_document() if older else main_document())["paths"]
    # Paths without a placeholder first, because default-secret is not an endpoint's id.
    ordered = sorted(paths.items(), key=lambda item: "{" in item[0])
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), operations)
        for path, operations in ordered
    ]
