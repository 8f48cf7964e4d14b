"""Problem details (RFC 9457): errors as callers see them, also readable by the upstream's SDKs."""

import math

import msgspec
import structlog
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from msgspec import UNSET, Struct, UnsetType

from gateway.errors import (
    BadRequest,
    GatewayError,
    MethodNotAllowed,
    NoRoom,
    NotFound,
    Unauthorized,
    UnsupportedMediaType,
)
from gateway.web.respond.ratelimit_headers import rate_headers

MEDIA_TYPE = "application/problem+json"

_SERVER_FAULT = 500
_log = structlog.get_logger("gateway.web")


class Fault(Struct):
    """One wrong field and the reason; names of nested fields are joined by dots."""

    field: str
    reason: str


class Problem(Struct, kw_only=True, rename="camel"):
    """Why a request was refused. Compare `code`, not the texts."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    message: str
    request_id: str
    trace_id: str | UnsetType = UNSET
    errors: list[Fault] | UnsetType = UNSET


def problem_of(
    error: Exception, request_id: str, trace_id: str | None = None
) -> tuple[GatewayError, dict[str, str], bytes]:
    """The error, its headers and its body; details of an unexpected error are only logged."""
    refusal, headers = _known_error(error, request_id, trace_id)
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(refusal.retry_after)))
    if isinstance(refusal, NoRoom):
        reset = refusal.retry_after or 1.0
        pairs = rate_headers(refusal.policy, refusal.quota, refusal.room, reset, window=None)
        headers |= {name.decode(): value.decode() for name, value in pairs}
    if isinstance(refusal, UnsupportedMediaType):
        headers |= refusal.headers
    if isinstance(refusal, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return refusal, headers, _body(refusal, request_id, trace_id)


def _body(error: GatewayError, request_id: str, trace_id: str | None) -> bytes:
    faults = [Fault(fault.field, fault.reason) for fault in error.errors]
    problem = Problem(
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        message=error.detail,
        request_id=request_id,
        trace_id=trace_id or UNSET,
        errors=faults or UNSET,
    )
    return msgspec.json.encode(problem)


def _allow(error: MethodNotAllowedException) -> str:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return ", ".join(sorted({*headers.get("allow", "").split(", "), "HEAD", "OPTIONS"}))


def _known_error(
    error: Exception, request_id: str, trace_id: str | None
) -> tuple[GatewayError, dict[str, str]]:
    match error:
        case GatewayError():
            return error, {}
        case NotFoundException():
            return NotFound("There is nothing at this path."), {}
        case MethodNotAllowedException():
            refusal = MethodNotAllowed("This path does not take this method; see the header Allow.")
            return refusal, {"allow": _allow(error)}
        case HTTPException() if error.status_code < _SERVER_FAULT:
            return BadRequest(error.detail), {}
        case _:
            trace = {"trace_id": trace_id} if trace_id else {}
            _log.error("request failed", request_id=request_id, **trace, exc_info=error)
            return GatewayError(
                "An internal error occurred. Search the logs for the request id."
            ), {}
