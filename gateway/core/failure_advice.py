"""What to do about a failure, by its code: the advice of docs/errors.md, shown by the CLI."""

from collections.abc import Mapping

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
