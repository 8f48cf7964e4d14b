"""What to do about a failure or a wait, by its code: the advice of the docs, shown by the CLI."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.core.waits_for import WaitCode

# Why a job failed.
JOB_ADVICE: Mapping[str, str] = {
    "BAD_INPUT": "check the name of the workflow (`gateway workflow list`) and that every URL in `params` can be "
    "fetched by anybody, then submit a new job",
    "TIMEOUT": "submit it again",
    "INTERNAL_ERROR": "submit it again; if it stays, ask the upstream",
    "UNKNOWN": "often a workflow that is set up wrongly: look at it in the upstream's dashboard",
    "UPSTREAM_LOST": "submit it again, and ask the upstream",
    "UPSTREAM_UNREADABLE": "submit it again; if it stays, ask the upstream",
    "CANCELLED": "nothing",
    "DEADLINE_EXCEEDED": "give it more time; its timeline (`gateway job events ID`) says where it waited",
    "GATEWAY_FAULT": "report it with the job's id, then retry the job",
}

# Why an attempt of a webhook failed, by its error class.
WEBHOOK_ADVICE: Mapping[str, str] = {
    "dns": "check the URL and the name's records",
    "connect": "start the receiver, open its port",
    "tls": "renew the certificate, and serve its whole chain",
    "timeout": "answer first, do the work afterwards",
    "blocked": "use a public address; an operator can allow a network",
    "body": "look into the receiver or what is in front of it",
    "egress": "an operator has to look at the egress proxy",
    "http_3xx": "change the URL of the endpoint",
    "http_4xx": "compare what `requestHeaders` and `responseBody` of the attempt say; 410 disables the endpoint",
    "http_5xx": "look at the receiver's own logs at that time",
}


class WaitAdvice(NamedTuple):
    """Who has to act so that a waiting job goes on, and what to do."""

    who: str
    what: str


_NOBODY = "nobody"
_OPERATOR = "operator"
_WAIT = "wait until the time that is named; it is tried again by itself"

# Why a job waits.
WAIT_ADVICE: Mapping[str, WaitAdvice] = {
    WaitCode.TURN: WaitAdvice(_NOBODY, "wait: the jobs before it are submitted first"),
    WaitCode.IN_FLIGHT_CAP: WaitAdvice(
        _OPERATOR, "wait, or raise the limit: `gateway tenant update SLUG --max-in-flight N`"
    ),
    WaitCode.UPSTREAM_QUEUED: WaitAdvice("upstream", "wait: the upstream has not started it"),
    WaitCode.UPSTREAM_BUSY: WaitAdvice(_NOBODY, _WAIT),
    WaitCode.CIRCUIT_OPEN: WaitAdvice(
        "upstream", f"{_WAIT}; meanwhile look at the upstream's status page"
    ),
    WaitCode.RETRY_LATER: WaitAdvice(_NOBODY, _WAIT),
    WaitCode.LOOKUP: WaitAdvice(
        _NOBODY, "wait: the lookup ends within a minute after the upstream is available"
    ),
    WaitCode.CREDENTIAL_REJECTED: WaitAdvice(_OPERATOR, "`gateway credential put SLUG`"),
    WaitCode.CREDENTIAL_UNUSABLE: WaitAdvice(
        _OPERATOR, "`gateway secret status` names the missing master key"
    ),
    WaitCode.CREDENTIAL_MISSING: WaitAdvice(_OPERATOR, "`gateway credential put SLUG`"),
    WaitCode.TENANT_SUSPENDED: WaitAdvice(_OPERATOR, "`gateway tenant resume SLUG`"),
    WaitCode.NO_WORKER: WaitAdvice(
        _OPERATOR, "start `gateway worker`; if one runs, `gateway doctor` says what it lacks"
    ),
}
