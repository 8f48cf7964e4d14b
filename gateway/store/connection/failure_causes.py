"""Why a statement or a connection failed: one line for operators, and the error for callers."""

import errno
import socket
import ssl
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import asyncpg  # pyright: ignore[reportMissingTypeStubs]
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.errors import BadRequest, Collision, DatabaseDenied, Unavailable

_AGAIN = "Try again; with an Idempotency-Key a repeated request never makes a second job."
_RETRY_SECONDS = 1


class Trouble(Enum):
    """The kinds of failure, each with the sentence that callers are told."""

    AWAY = "The database cannot be reached just now."
    DENIED = "The database does not let the gateway in just now."
    READ_ONLY = "The database takes no changes just now."
    BUSY = "The database has no connection free just now."
    SCHEMA = "The database's schema is not the one that this version needs."
    LOCKED = "Another request holds what this one changes."
    SLOW = (
        "The database took too long for this. A list takes less with a shorter time or fewer "
        "tenants."
    )


class Cause(NamedTuple):
    """What failed, and the message of the server or system; contains no password and no statement."""

    trouble: Trouble
    name: str
    words: str = ""

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.name} ({self.words})" if self.words else self.name

    def error(self, place: str) -> Unavailable:
        """The error that is raised for it; `place` names the hosts of the database."""
        kind = Collision if self.name in _COLLISIONS else Unavailable
        kind = DatabaseDenied if self.trouble is Trouble.DENIED else kind
        detail = f"{self.trouble.value} {_AGAIN}"
        return kind(
            detail, retry_after=_RETRY_SECONDS, cause=self.text, brief=self.name, place=place
        )


class PoolerRefusedError(Exception):
    """The pooler in front of Postgres cannot be used; the message says why."""


class FormerPrimaryError(Exception):
    """The server was replaced by the promotion of another one."""


class RoleRefusedError(Exception):
    """The login may not take on the role of tenants; the message is the server's."""


# By SQLSTATE or by its class, the first two characters. The message of the server is added.
_STATES = {
    "57014": (Trouble.SLOW, "a statement took too long"),
    "40P01": (Trouble.LOCKED, "deadlock"),
    "40001": (Trouble.LOCKED, "two transactions collided"),
    "55P03": (Trouble.LOCKED, "a lock was not free in time"),
    "25P03": (Trouble.SLOW, "a transaction stood still for too long"),
    "25P04": (Trouble.SLOW, "a transaction took too long"),
    "25006": (Trouble.READ_ONLY, "read-only"),
    "53100": (Trouble.READ_ONLY, "disk full"),
    "53200": (Trouble.AWAY, "out of memory"),
    "53300": (Trouble.AWAY, "too many connections"),
    "53400": (Trouble.AWAY, "a limit of its configuration is reached"),
    "28P01": (Trouble.DENIED, "wrong password"),
    "28": (Trouble.DENIED, "the login is refused"),
    "3D000": (Trouble.DENIED, "no such database"),
    "57P01": (Trouble.AWAY, "shutting down"),
    "57P02": (Trouble.AWAY, "crashed"),
    "57P03": (Trouble.AWAY, "not taking connections yet"),
    "57P05": (Trouble.AWAY, "closed an idle connection"),
    "42P01": (Trouble.SCHEMA, "a table is missing: see `gateway db status`"),
    "42703": (Trouble.SCHEMA, "a column is missing: see `gateway db status`"),
    "08P01": (Trouble.AWAY, "the server or a pooler refuses"),
    "08": (Trouble.AWAY, "the connection is lost"),
    "53": (Trouble.AWAY, "out of resources"),
    "57": (Trouble.AWAY, "the server intervened"),
    "58": (Trouble.AWAY, "a fault of the server's system"),
    "40": (Trouble.LOCKED, "the transaction was rolled back"),
    "XX": (Trouble.AWAY, "a fault of the server"),
}
_COLLISIONS = frozenset({"deadlock", "two transactions collided"})
_BAD_DATA = "22"
# Errors without an SQLSTATE; the first type that matches is used.
_KINDS: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], str]] = (
    (asyncpg.TargetServerAttributeNotMatched, "no server that takes changes"),
    (asyncpg.ClientConfigurationError, "its address cannot be used"),
    ((asyncpg.InterfaceError, asyncpg.InternalClientError), "the connection is lost"),
    (TimeoutError, "no answer in time"),
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "the host name cannot be resolved"),
    (ConnectionRefusedError, "connection refused"),
    (FileNotFoundError, "there is no such socket or file"),
    (OSError, "the connection is lost"),
)
_UNREACHABLE = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EHOSTDOWN}
)


def cause_of(error: BaseException) -> Cause | None:
    """Why it failed, if the database is the reason; None for a defect or bad data of ours."""
    error = _original(error)
    state = getattr(error, "sqlstate", None)
    if state is not None:
        kind = _STATES.get(str(state)) or _STATES.get(str(state)[:2])
        return Cause(*kind, _first_line(error)) if kind else None
    if isinstance(error, PoolTimeoutError):
        return Cause(Trouble.BUSY, "all connections of the pool are in use")
    if isinstance(error, PoolerRefusedError):
        return Cause(Trouble.AWAY, _first_line(error))
    if isinstance(error, FormerPrimaryError):
        return Cause(Trouble.AWAY, "a former primary", _first_line(error))
    if isinstance(error, RoleRefusedError):
        return Cause(
            Trouble.DENIED, "the login may not take on the role of tenants", _first_line(error)
        )
    return _connection_cause(error)


def translated(error: Exception, place: str) -> Exception:
    """The error to raise instead: Unavailable, BadRequest, or the error itself if it is a defect."""
    cause = cause_of(error)
    if cause is not None:
        return cause.error(place)
    if str(getattr(_original(error), "sqlstate", None) or "").startswith(_BAD_DATA):
        return BadRequest("The request holds a value that cannot be stored.")
    return error


def _original(error: BaseException) -> BaseException:
    """The error of the driver, which SQLAlchemy may have wrapped."""
    if not isinstance(error, DBAPIError):
        return error
    adapted = error.orig
    return error if adapted is None else adapted.__cause__ or adapted


def _connection_cause(error: BaseException) -> Cause | None:
    """The cause of an error that the server did not report."""
    for kinds, name in _KINDS:
        if isinstance(error, kinds):
            return Cause(Trouble.AWAY, _refined_name(error, name), _words(error))
    return None


def _refined_name(error: BaseException, name: str) -> str:
    text = str(error)
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return "the host cannot be reached"
    if isinstance(error, OSError) and f"[Errno {errno.ECONNREFUSED}]" in text:
        return "connection refused"  # by each of several addresses
    return "TLS failed" if isinstance(error, ConnectionError) and "SSL" in text else name


def _words(error: BaseException) -> str:
    if isinstance(error, (TimeoutError, ConnectionRefusedError)):
        return ""
    if isinstance(error, ssl.SSLError):
        # A certificate that does not verify has a message; other failures have a reason in capitals.
        return (
            getattr(error, "verify_message", "")
            or getattr(error, "reason", "")
            or _first_line(error)
        )
    if isinstance(error, OSError) and error.strerror and not error.strerror.startswith("Multiple"):
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
