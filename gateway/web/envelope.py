"""What is known of a request before it is routed."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from gateway.core.model import AccessKey, Tenant
from gateway.errors import BadRequest, NotFound, Unauthorized
from gateway.flows.identify import TenantContext
from gateway.ports import Ids

STATE = "envelope"  # where Litestar's handlers find it, in the state of the scope

_ONCE = frozenset(
    {b"idempotency-key", b"gateway-tenant", b"prefer", b"if-none-match", b"last-event-id"}
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
    def acting(self) -> TenantContext:
        """The tenant it acts for, where it must act for one."""
        if self.context is None:
            raise RuntimeError("a call that must act for a tenant was let in without one")
        return self.context


@dataclass(slots=True)
class Envelope:
    """One request as the front hands it on; header names are lower case."""

    request_id: str
    headers: dict[bytes, bytes] = field(repr=False)  # one of them is a secret
    query: bytes
    body: bytes = field(default=b"", repr=False)
    caller: Caller | None = None
    parameters: Struct | None = None
    bodiless: bool = False
    # Headers that the answer carries, whatever it is.
    notes: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    def header(self, name: bytes) -> str:
        """The value of a header; empty where it is absent."""
        return self.headers.get(name, b"").decode("latin-1")


def request_id_of(headers: Iterable[tuple[bytes, bytes]], ids: Ids) -> str:
    """The caller's own X-Request-Id where it is 1 to 128 visible ASCII characters; else a new one."""
    given = [value for name, value in headers if name == b"x-request-id"]
    if len(given) == 1 and _REQUEST_ID.fullmatch(text := given[0].decode("latin-1")):
        return text
    return str(ids.uuid())


def refuse_path(path: str) -> None:
    """Raise NotFound for a path that no name in Postgres can match."""
    if "\0" in path:
        raise NotFound("There is nothing at this path.")


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; raises Unauthorized or BadRequest when one that counts is given twice."""
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name in headers:
            _refuse_second(name)
        headers[name] = value
    return headers


def _refuse_second(name: bytes) -> None:
    if name == b"authorization":
        raise Unauthorized("There are two Authorization headers. Send one access key.")
    if name in _ONCE:
        raise BadRequest.of(name.decode().title(), "the header is given more than once")
