"""What is known of a request before it is routed, and its caller once that is known."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from gateway.core.model import AccessKey, Tenant
from gateway.core.trace_context import trace_id_of
from gateway.errors import BadRequest, Unauthorized
from gateway.flows.accept.authenticate import TenantContext
from gateway.ports import Ids, Span
from gateway.web.asgi.read_body import Incoming

# Names in the state of the ASGI scope: of the request context, and of the parts of the process.
STATE = "request_context"
CONTEXT = "context"

# These headers have one value. Repeated lines of any other make one list (RFC 9110, 5.3).
_SINGLE = frozenset(
    {b"content-type", b"gateway-tenant", b"host", b"idempotency-key", b"last-event-id"}
)
_REQUEST_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Caller:
    """The access key of a request, and the tenant that it acts for, if it acts for one."""

    key: AccessKey
    context: TenantContext | None

    @property
    def tenant(self) -> Tenant | None:
        """The tenant it acts for."""
        return self.context.tenant if self.context else None

    @property
    def required_context(self) -> TenantContext:
        """The tenant it acts for; raises RuntimeError without one."""
        if self.context is None:
            raise RuntimeError("a call that must act for a tenant was let in without one")
        return self.context


@dataclass(slots=True)
class RequestContext:
    """One request as the front door passes it on; header names are lower case."""

    request_id: str
    method: str
    headers: dict[bytes, bytes] = field(repr=False)  # one of them is a secret
    query: bytes
    incoming: Incoming = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    caller: Caller | None = None
    parameters: Struct | None = None
    bodiless: bool = False
    span: Span | None = None  # None while tracing is off
    # Headers for the response, success or error.
    response_headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    @property
    def required_caller(self) -> Caller:
        """The caller, which a guard has found; raises RuntimeError without one."""
        if self.caller is None:
            raise RuntimeError("a handler without a guard asked for its caller")
        return self.caller

    def header(self, name: bytes) -> str:
        """The value of a header; empty where it is absent."""
        return self.headers.get(name, b"").decode("latin-1")

    @property
    def traceparent(self) -> str | None:
        """The trace context of the request, for what it causes; None while tracing is off."""
        return self.span.traceparent if self.span else None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace of the request; None while tracing is off."""
        return trace_id_of(self.traceparent)

    async def take_body(self) -> None:
        """Read the body once, after the caller is known; raises what Incoming.read raises."""
        if self.body:
            return
        caller = self.caller
        tenant = caller.tenant if caller else None
        owner = tenant.slug if tenant else caller.key.key_id if caller else ""
        self.body = await self.incoming.read(self.headers, owner)

    def drop_body(self) -> None:
        """Free the memory of the body."""
        self.body = b""
        self.incoming.release()


def request_id_of(headers: Iterable[tuple[bytes, bytes]], ids: Ids) -> str:
    """The caller's X-Request-Id if it has 1 to 128 visible ASCII characters, or else a new id."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(text := given[0].decode("latin-1")):
        return text
    return str(ids.uuid())


def traceparent_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The caller's trace context, not validated yet; None without exactly one."""
    given = [value for name, value in headers if name == b"traceparent"]
    return given[0].decode("latin-1") if len(given) == 1 else None


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, with repeated ones joined; raises if a header that may occur once is repeated.

    Raises Unauthorized or BadRequest.
    """
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers:
            _refuse_repeated(name)
            value = headers[name] + b", " + value  # noqa: PLW2901 - the same field, longer
        headers[name] = value
    return headers


def _refuse_repeated(name: bytes) -> None:
    if name == b"authorization":
        raise Unauthorized("There are two Authorization headers. Send one access key.")
    if name in _SINGLE:
        raise BadRequest.of(name.decode().title(), "the header is given more than once")
