"""Says why a webhook got no answer, from what was raised on the way."""

import errno
import os
import ssl

from gateway.adapters.webhooks.connection import HungUpError
from gateway.adapters.webhooks.proxy_tunnel import ProxyAwayError, ProxyTunnelError
from gateway.adapters.webhooks.response import UnreadableError
from gateway.adapters.webhooks.ssrf_guard import BlockedError, UnresolvedError
from gateway.adapters.webhooks.timings import PhaseTimer
from gateway.core.webhooks.request import FaultKind

# All that can go wrong between us and a receiver.
SEND_ERRORS = (OSError, ProxyTunnelError, HungUpError, UnreadableError)
# This machine has no room for one more connection; no receiver can help that.
_NO_ROOM = frozenset([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])


def passing(error: BaseException, stopwatch: PhaseTimer) -> bool:
    """Whether to try again at once: nothing was answered, and what went wrong may be over.

    That is so where an idle connection turned out to be closed, and where a new one failed
    quickly and for no reason that stays, such as a bad certificate.
    """
    if stopwatch.ready is not None:
        return stopwatch.reused and not stopwatch.heard and isinstance(error, HungUpError)
    match error:
        case BlockedError() | UnresolvedError() | TimeoutError():
            return False
        case ssl.SSLError() as failure:
            return isinstance(failure, ssl.SSLEOFError)
        case OSError() | ProxyAwayError():
            return True
        case _:
            return False


def explain(error: BaseException, stopwatch: PhaseTimer) -> tuple[FaultKind, str]:
    """The kind of fault, and a sentence for the people who run the receiver."""
    own = _our_own(error, stopwatch)
    if own is not None:
        return "egress", f"The gateway's own way out failed: {own}."
    match error:
        case HungUpError():
            return "body", "The connection was closed before an answer came."
        case TimeoutError():
            return "timeout", f"{_missing(stopwatch)} within {stopwatch.seconds():.1f} s."
        case OSError():
            return _unconnected(error, stopwatch)
        case _:
            return "body", str(error)


def _our_own(cause: BaseException, stopwatch: PhaseTimer) -> str | None:
    match cause:
        case ProxyTunnelError():
            return f"the egress proxy {cause}"
        case TimeoutError() if stopwatch.at_proxy:
            return "the egress proxy cannot be reached in time"
        case OSError(errno=code) if code in _NO_ROOM:
            return "it has no room for one more connection"
        case _:
            return None


def _missing(stopwatch: PhaseTimer) -> str:
    if stopwatch.ready is not None:
        return "No answer came"
    if stopwatch.securing is not None:
        return "The TLS handshake did not end"
    if stopwatch.connecting is not None:
        return "No connection was made"
    if stopwatch.looking_up is not None:
        return "The name of the URL's host did not resolve"
    return "None of the connections to this host was free"


def _unconnected(failure: OSError, stopwatch: PhaseTimer) -> tuple[FaultKind, str]:
    match failure:
        case BlockedError():
            return "blocked", "The URL's host is at an address that may not be called."
        case UnresolvedError():
            return "dns", f"The name of the URL's host {failure}."
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
