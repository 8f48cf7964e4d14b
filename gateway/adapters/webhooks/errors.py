"""Classifies the errors of a webhook request: kind of fault, text, and whether to retry at once."""

import errno
import os
import ssl

from gateway.adapters.webhooks.connection import HungUpError
from gateway.adapters.webhooks.proxy_tunnel import ProxyAwayError, ProxyTunnelError
from gateway.adapters.webhooks.response import UnreadableError
from gateway.adapters.webhooks.ssrf_guard import BlockedError, UnresolvedError
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.signed_request import FaultKind

# Every error that can occur between the gateway and a receiver.
SEND_ERRORS = (OSError, ProxyTunnelError, HungUpError, UnreadableError)
# This machine cannot open one more connection; that is not the fault of the receiver.
_LOCAL_LIMITS = frozenset(
    [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL]
)


def is_transient(error: BaseException, timer: PhaseTimer) -> bool:
    """Return whether to retry at once, because no response came and the cause may be over.

    True for a kept connection that turned out to be closed, and for a new one that failed quickly
    and not for a lasting reason, such as a bad certificate.
    """
    if timer.ready is not None:
        return timer.reused and not timer.has_heard and isinstance(error, HungUpError)
    match error:
        case BlockedError() | UnresolvedError() | TimeoutError():
            return False
        case ssl.SSLError() as failure:
            return isinstance(failure, ssl.SSLEOFError)
        case OSError() | ProxyAwayError():
            return True
        case _:
            return False


def classify(error: BaseException, timer: PhaseTimer) -> tuple[FaultKind, str]:
    """Return the kind of fault, and a sentence for the people who run the receiver."""
    gateway_fault = _gateway_fault(error, timer)
    if gateway_fault is not None:
        return "egress", f"The gateway's own way out failed: {gateway_fault}."
    match error:
        case HungUpError():
            return "body", "The connection was closed before an answer came."
        case TimeoutError():
            return "timeout", f"{_timed_out_phase(timer)} within {timer.seconds():.1f} s."
        case OSError():
            return _connect_fault(error, timer)
        case _:
            return "body", str(error)


def _gateway_fault(cause: BaseException, timer: PhaseTimer) -> str | None:
    match cause:
        case ProxyTunnelError():
            return f"the egress proxy {cause}"
        case TimeoutError() if timer.is_at_proxy:
            return "the egress proxy cannot be reached in time"
        case OSError(errno=code) if code in _LOCAL_LIMITS:
            return "it has no room for one more connection"
        case _:
            return None


def _timed_out_phase(timer: PhaseTimer) -> str:
    if timer.ready is not None:
        return "No answer came"
    if timer.tls_started is not None:
        return "The TLS handshake did not end"
    if timer.connect_started is not None:
        return "No connection was made"
    if timer.lookup_started is not None:
        return "The name of the URL's host did not resolve"
    return "None of the connections to this host was free"


def _connect_fault(failure: OSError, timer: PhaseTimer) -> tuple[FaultKind, str]:
    match failure:
        case BlockedError():
            return "blocked", "The URL's host is at an address that may not be called."
        case UnresolvedError():
            return "dns", f"The name of the URL's host {failure}."
        case ssl.SSLCertVerificationError():
            return "tls", f"The certificate was refused: {failure.verify_message.rstrip('.')}."
        case ssl.SSLError():
            return "tls", f"The TLS handshake failed: {failure.reason or 'broken off'}."
        case _ if timer.tls_started is not None:
            return "tls", "The connection was closed during the TLS handshake."
        case _:
            # Not the error's own text: it names the address.
            why = os.strerror(failure.errno) if failure.errno else "No address could be reached"
            return "connect", f"The connection failed: {why}."
