"""Why an attempt failed, and what to do about it, by its error class. Pure; docs/errors.md has the same table."""

from typing import NamedTuple


class FailureCause(NamedTuple):
    """The cause of a class of errors, who acts, and what they do; `backticks` mark code."""

    cause: str
    who_acts: str
    what_to_do: str


_RECEIVER, _OPERATOR, _TENANT = "receiver", "operator", "tenant"
_CAUSES = {
    "dns": FailureCause(
        "the name of the host does not resolve, or leads to an address that may not be called",
        _TENANT,
        "check the URL and the name's records",
    ),
    "connect": FailureCause(
        "the connection is refused, or there is no way to the address",
        _RECEIVER,
        "start the receiver, open its port",
    ),
    "tls": FailureCause(
        "the handshake failed, or the certificate is expired, self-signed or for another name",
        _RECEIVER,
        "renew the certificate, and serve its whole chain",
    ),
    "timeout": FailureCause(
        "no answer within 15 seconds; `detail` says what was waited for",
        _RECEIVER,
        "answer first, do the work afterwards",
    ),
    "blocked": FailureCause(
        "the URL, or the address that it names, may not be called: private, loopback, link-local, a"
        " port that is not allowed",
        _TENANT,
        "use a public address; an operator can allow a network",
    ),
    "body": FailureCause(
        "the connection was closed before the answer came, or the answer is not HTTP",
        _RECEIVER,
        "look into the receiver or what is in front of it",
    ),
    "egress": FailureCause(
        "the gateway's own way out failed; this is not counted against the endpoint",
        _OPERATOR,
        "an operator has to look at the egress proxy",
    ),
    "http_3xx": FailureCause(
        "a redirect, which is never followed", _TENANT, "change the URL of the endpoint"
    ),
    "http_4xx": FailureCause(
        "the receiver refused: often a wrong secret, a wrong path, a login in front of it",
        _RECEIVER,
        "compare what `requestHeaders` and `responseBody` of the attempt say; 410 disables the"
        " endpoint",
    ),
    "http_5xx": FailureCause(
        "the receiver broke", _RECEIVER, "look at the receiver's own logs at that time"
    ),
}
_OTHER = FailureCause(
    "the receiver answered with a status that is no success",
    _RECEIVER,
    "answer with a status from 200 to 299",
)


def failure_cause(error_class: str) -> FailureCause:
    """The cause of an error class; a general one for a status of an unusual class."""
    return _CAUSES.get(error_class, _OTHER)


CLASSES = tuple(_CAUSES)
