"""Says why a webhook got no answer, from what the HTTP library raised."""

import os
import ssl

import aiohttp
import httpx

from gateway.adapters.stopwatch import Stopwatch
from gateway.adapters.vetting import BlockedError, UnresolvedError
from gateway.core.webhook import FaultKind

_WRAPPERS = (httpx.HTTPError, aiohttp.ClientConnectorError)


def origin(error: BaseException) -> BaseException:
    """What happened, beneath the layers of the HTTP library."""
    while isinstance(error, _WRAPPERS) and error.__cause__ is not None:
        error = error.__cause__
    return error


def hung_up(error: BaseException) -> bool:
    """Whether a connection that stood was closed before an answer came over it."""
    cause = origin(error)
    return isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError)


def explain(error: BaseException, stopwatch: Stopwatch) -> tuple[FaultKind, str]:
    """The kind of fault, and a sentence for the people who run the receiver."""
    if hung_up(error):
        return "body", "The connection was closed before an answer came."
    match origin(error):
        case BlockedError():
            return "blocked", "The URL's host is at an address that may not be called."
        case UnresolvedError() as unresolved:
            return "dns", f"The name of the URL's host {unresolved}."
        case TimeoutError():
            return "timeout", f"{_missing(stopwatch)} within {stopwatch.seconds():.1f} s."
        case OSError() as failure:
            return _unconnected(failure, stopwatch)
        case _:
            return "body", "The answer is not valid HTTP."


def _missing(stopwatch: Stopwatch) -> str:
    if stopwatch.ready is not None:
        return "No answer came"
    if stopwatch.securing is not None:
        return "The TLS handshake did not end"
    if stopwatch.connecting is not None:
        return "No connection was made"
    return "None of the connections to this host was free"


def _unconnected(failure: OSError, stopwatch: Stopwatch) -> tuple[FaultKind, str]:
    match failure:
        case ssl.SSLCertVerificationError():
            return "tls", f"The certificate was refused: {failure.verify_message.rstrip('.')}."
        case ssl.SSLError():
            return "tls", f"The TLS handshake failed: {failure.reason or 'broken off'}."
        case _ if stopwatch.securing is not None:
            return "tls", "The connection was closed during the TLS handshake."
        case _:
            # Not the error's own text: it names the address.
            why = os.strerror(failure.errno) if failure.errno else "No address could be reached"
            return "connect", f"The connection failed: {why}."
