"""Requests and responses, as the sockets, the in-process app and the routes pass them."""

from functools import lru_cache
from typing import Literal
from urllib.parse import parse_qs

import msgspec

JSON = "application/json"

encode_json = msgspec.json.encode

TITLES = {
    400: ("BAD_INPUT", "Bad input"),
    401: ("UNAUTHORIZED", "Unauthorized"),
    402: ("PAYMENT_REQUIRED", "Payment required"),
    403: ("FORBIDDEN", "Forbidden"),
    404: ("NOT_FOUND", "Not found"),
    409: ("CONFLICT", "Conflict"),
    413: ("PAYLOAD_TOO_LARGE", "Payload too large"),
    422: ("NOT_PROCESSABLE", "Not processable"),
    429: ("TOO_MANY_REQUESTS", "Too many requests"),
}


class Request:
    """One complete HTTP request; header names are lower case."""

    __slots__ = ("body", "headers", "method", "path", "query")

    def __init__(
        self, method: str, path: str, query: str, headers: dict[str, str], body: bytes
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body


class WireScript(msgspec.Struct, frozen=True, kw_only=True):
    """How a response is written to the socket if not simply at once."""

    delay: float = 0.0
    end: Literal["answer", "hang", "reset", "close", "cut", "drip", "flood"] = "answer"
    hang_seconds: float | None = None
    drip_bytes: int = 1
    drip_seconds: float = 0.05
    drip_from: Literal["headers", "body"] = "body"
    flood_bytes: int = 0


class Response:
    """Status, body and extra headers; `wire` is None for a normal response."""

    __slots__ = ("body", "content_type", "headers", "status", "wire")

    def __init__(
        self,
        status: int,
        body: bytes,
        content_type: str = JSON,
        headers: tuple[tuple[str, str], ...] = (),
        wire: WireScript | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.content_type = content_type
        self.headers = headers
        self.wire = wire


class RefusedError(Exception):
    """Ends a route with an error response."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_response(value: object, status: int = 200) -> Response:
    return Response(status, encode_json(value))


def problem(
    status: int,
    message: str,
    *,
    code: str | None = None,
    headers: tuple[tuple[str, str], ...] = (),
) -> Response:
    """Build a `{code, title, message}` error; code and title follow the status unless given."""
    known_code, title = TITLES.get(status, ("INTERNAL_ERROR", "Internal error"))
    body = encode_json({"code": code or known_code, "title": title, "message": message})
    return Response(status, body, JSON, headers)


def refuse(status: int, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> RefusedError:
    return RefusedError(problem(status, message, headers=headers))


@lru_cache(maxsize=512)
def parse_query(query: str) -> dict[str, list[str]]:
    """Parse a query; the result is cached and shared, so callers must not change it."""
    return parse_qs(query, keep_blank_values=True)
