"""Errors as callers see them: one body for RFC 9457 readers and for the upstream's SDKs."""

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
    """One field that is wrong, and why; nested ones are joined by dots."""

    field: str
    reason: str


class Problem(Struct, kw_only=True, rename="camel"):
    """Why a request was refused; go by `code`."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    message: str
    request_id: str
    errors: list[Fault] | UnsetType = UNSET


def problem_of(error: Exception, request_id: str) -> tuple[GatewayError, dict[str, str], bytes]:
    """The error to tell, its headers and its body; what nobody foresaw is logged and kept vague."""
    told, headers = _told(error, request_id)
    if told.retry_after is not None:
        headers["retry-after"] = str(max(1, math.ceil(told.retry_after)))
    if isinstance(told, NoRoom):
        reset = told.retry_after or 1.0
        pairs = rate_headers(told.policy, told.quota, told.room, reset, window=None)
        headers |= {name.decode(): value.decode() for name, value in pairs}
    if isinstance(told, UnsupportedMediaType):
        headers |= told.headers
    if isinstance(told, Unauthorized):
        headers["www-authenticate"] = "Bearer"
    return told, headers, _body(told, request_id)


def _body(error: GatewayError, request_id: str) -> bytes:
    faults = [Fault(fault.field, fault.reason) for fault in error.errors]
    problem = Problem(
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        message=error.detail,
        request_id=request_id,
        errors=faults or UNSET,
    )
    return msgspec.json.encode(problem)


def _allow(error: MethodNotAllowedException) -> str:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    return ", ".join(sorted({*headers.get("allow", "").split(", "), "HEAD", "OPTIONS"}))


def _told(error: Exception, request_id: str) -> tuple[GatewayError, dict[str, str]]:
    match error:
        case GatewayError():
            return error, {}
        case NotFoundException():
            return NotFound("There is nothing at this path."), {}
        case MethodNotAllowedException():
            told = MethodNotAllowed("This path does not take this method; see the header Allow.")
            return told, {"allow": _allow(error)}
        case HTTPException() if error.status_code < _SERVER_FAULT:
            return BadRequest(error.detail), {}
        case _:
            _log.error("request failed", request_id=request_id, exc_info=error)
            return GatewayError(
                "Something went wrong here. The request id finds it in the logs."
            ), {}
