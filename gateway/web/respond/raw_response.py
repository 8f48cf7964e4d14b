"""Responses that are written without Litestar."""

from typing import NamedTuple

from gateway.web.asgi.request_context import RequestContext
from gateway.web.asgi.types import Message, Send
from gateway.web.respond.problem_details import MEDIA_TYPE, problem_of

JSON = "application/json"
NO_STORE = (b"cache-control", b"no-store")


class RawResponse(NamedTuple):
    """Status, body, media type and further headers."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refusal_answer(error: Exception, request_context: RequestContext) -> RawResponse:
    """The problem details of an error as a response."""
    told = problem_of(error, request_context.request_id, request_context.trace_id)
    refusal, headers, body = told
    pairs = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return RawResponse(refusal.status, body, MEDIA_TYPE, pairs)


async def send_answer(send: Send, answer: RawResponse, request_context: RequestContext) -> None:
    """Send a response, with the headers that every response has."""
    start: Message = {
        "type": "http.response.start",
        "status": answer.status,
        "headers": [
            (b"content-type", answer.media_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"x-request-id", request_context.request_id.encode()),
            NO_STORE,
            *answer.headers,
            *request_context.response_headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
