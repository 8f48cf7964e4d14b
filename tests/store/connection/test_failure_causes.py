"""Each failure of Postgres has one line for operators and an error for callers."""

import errno
import socket
import ssl

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from gateway.errors import BadRequest, Collision, DatabaseDenied, Unavailable
from gateway.store.connection.failure_causes import (
    PoolerRefusedError,
    Trouble,
    cause_of,
    translated,
)

REFUSED = OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect")


def named(strerror: str, error: OSError) -> OSError:
    error.strerror = strerror
    return error


@pytest.mark.parametrize(
    ("error", "trouble", "text"),
    [
        (ConnectionRefusedError(111, "Connect"), "AWAY", "connection refused"),
        (REFUSED, "AWAY", "connection refused"),
        (
            socket.gaierror(-2, "Name or service not known"),
            "AWAY",
            "the host name cannot be resolved (Name or service not known)",
        ),
        (TimeoutError(), "AWAY", "no answer in time"),
        (
            OSError(errno.EHOSTUNREACH, "No route to host"),
            "AWAY",
            "the host cannot be reached (No route to host)",
        ),
        (
            FileNotFoundError(2, "No such file or directory", "/run/.s.PGSQL.5432"),
            "AWAY",
            "there is no such socket or file (No such file or directory: /run/.s.PGSQL.5432)",
        ),
        (ConnectionResetError(104, "Connection reset"), "AWAY", "the connection is lost"),
        (
            ConnectionError('PostgreSQL server at "h:1" rejected SSL upgrade'),
            "AWAY",
            'TLS failed (PostgreSQL server at "h:1" rejected SSL upgrade)',
        ),
        (ssl.SSLError(1, "wrong version number"), "AWAY", "TLS failed"),
        (asyncpg.InvalidPasswordError("no"), "DENIED", "wrong password (no)"),
        (
            asyncpg.InvalidAuthorizationSpecificationError("no entry\nmore"),
            "DENIED",
            "the login is refused (no entry)",
        ),
        (asyncpg.InvalidCatalogNameError("no"), "DENIED", "no such database (no)"),
        (asyncpg.TooManyConnectionsError("no"), "AWAY", "too many connections (no)"),
        (asyncpg.CannotConnectNowError("starting"), "AWAY", "not taking connections yet"),
        (asyncpg.AdminShutdownError("bye"), "AWAY", "shutting down (bye)"),
        (
            asyncpg.UndefinedTableError("no job"),
            "SCHEMA",
            "a table is missing: see `gateway db status` (no job)",
        ),
        (asyncpg.DiskFullError("full"), "READ_ONLY", "disk full (full)"),
        (asyncpg.ReadOnlySQLTransactionError("ro"), "READ_ONLY", "read-only (ro)"),
        (asyncpg.DeadlockDetectedError("d"), "LOCKED", "deadlock (d)"),
        (asyncpg.LockNotAvailableError("l"), "LOCKED", "a lock was not free in time (l)"),
        (asyncpg.QueryCanceledError("q"), "SLOW", "a statement took too long (q)"),
        (asyncpg.ConnectionDoesNotExistError("c"), "AWAY", "the connection is lost (c)"),
        (asyncpg.InterfaceError("i"), "AWAY", "the connection is lost (i)"),
        (asyncpg.TargetServerAttributeNotMatched("t"), "AWAY", "no server that takes changes (t)"),
        (asyncpg.ClientConfigurationError("c"), "AWAY", "its address cannot be used (c)"),
        (asyncpg.PostgresIOError("disk"), "AWAY", "a fault of the server's system (disk)"),
        (asyncpg.InternalServerError("x"), "AWAY", "a fault of the server (x)"),
        (PoolerRefusedError("old"), "AWAY", "old"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_each_failure_is_named(error: Exception, trouble: str, text: str) -> None:
    for one in (error, DBAPIError("SELECT 1", None, error)):
        cause = cause_of(one)
        assert cause is not None
        assert cause.trouble is Trouble[trouble]
        assert cause.text.startswith(text)
        raised = translated(one, "h:1")
        assert isinstance(raised, Unavailable)
        assert (raised.cause, raised.place, raised.status) == (cause.text, "h:1", 503)
        assert raised.brief == cause.name
        assert raised.detail.startswith(cause.trouble.value)


def test_a_certificate_that_does_not_verify_says_why() -> None:
    error = ssl.SSLCertVerificationError(1, "failed")
    error.verify_message = "self-signed certificate"
    cause = cause_of(error)
    assert cause is not None
    assert cause.text == "TLS failed (self-signed certificate)"


def test_a_collision_and_a_refused_login_have_errors_of_their_own() -> None:
    for error in (asyncpg.DeadlockDetectedError("d"), asyncpg.SerializationError("s")):
        assert isinstance(translated(error, ""), Collision)
    assert isinstance(translated(asyncpg.InvalidPasswordError("p"), ""), DatabaseDenied)


def test_an_error_that_is_not_of_the_database_is_not_translated() -> None:
    defect = asyncpg.UndefinedFunctionError("nonsense")
    assert cause_of(defect) is None
    assert cause_of(DBAPIError("SELECT 1", None, None)) is None  # pyright: ignore[reportArgumentType]
    assert translated(defect, "") is defect
    assert isinstance(translated(asyncpg.UntranslatableCharacterError("x"), ""), BadRequest)
    silent = asyncpg.InvalidPasswordError("")
    cause = cause_of(silent)
    assert cause is not None
    assert cause.text == "wrong password (InvalidPasswordError)"
