"""The faults of the night exercise, in order: what is injected, and what must name it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from tests.faults.night import of_gateway, of_others, of_postgres
from tests.faults.night.deployment import Night


class NightFault(NamedTuple):
    """A fault: what is injected, and the subject and the words of the finding that names it.

    `alert` is the one that must fire as well, where Prometheus is installed.
    """

    name: str
    inject: Callable[[Night], AbstractAsyncContextManager[Mapping[str, str]]]
    subject: str
    words: str
    alert: str = ""


FAULTS = (
    NightFault(
        "Postgres refuses connections",
        of_postgres.refused,
        "postgres",
        "connection refused",
        "GatewayDatabaseAway",
    ),
    NightFault(
        "Postgres does not answer", of_postgres.silent, "postgres", "database away: no answer"
    ),
    NightFault(
        "the password at Postgres was changed",
        of_postgres.wrong_password,
        "postgres",
        "wrong password",
        "GatewayDatabaseAway",
    ),
    NightFault(
        "all connections of Postgres are in use",
        of_postgres.connections_used_up,
        "postgres",
        "too many connections",
        "GatewayDatabaseAway",
    ),
    NightFault(
        "Postgres is read-only", of_postgres.read_only, "disk", "read-only", "GatewayDatabaseAway"
    ),
    NightFault("the disk of Postgres is full", of_postgres.disk_full, "disk", "disk full"),
    NightFault(
        "the synchronous standby is away",
        of_postgres.standby_away,
        "postgres",
        "No standby",
        "GatewayDatabaseAway",
    ),
    NightFault(
        "a replication slot holds the log back",
        of_postgres.slot_holds_log,
        "disk",
        "replication slot old_standby is not in use",
    ),
    NightFault(
        "a forgotten transaction holds the feed",
        of_postgres.transaction_open,
        "transactions",
        r"Session \d+ of postgres in database postgres, application psql",
        "GatewayFeedLags",
    ),
    NightFault(
        "the schema is older than the code", of_postgres.schema_behind, "postgres", "schema behind"
    ),
    NightFault(
        "the schema is newer than the code", of_postgres.schema_ahead, "schema", "newer version"
    ),
    NightFault(
        "the login lost the role of tenants",
        of_postgres.role_refused,
        "postgres",
        "may not take on the role of tenants",
    ),
    NightFault(
        "PgBouncer takes no more clients",
        of_postgres.pooler_full,
        "postgres",
        "a pooler refuses .*max_client_conn",
    ),
    NightFault(
        "Redis refuses connections",
        of_others.redis_refused,
        "redis",
        "nothing listens there",
        "GatewayRedisAway",
    ),
    NightFault(
        "the password of Redis was changed",
        of_others.redis_password,
        "redis",
        "refuses the user or the password",
    ),
    NightFault(
        "Redis is out of memory", of_others.redis_full, "redis", "out of memory", "GatewayRedisAway"
    ),
    NightFault("Redis is a Cluster", of_others.redis_cluster, "redis", "a Redis Cluster"),
    NightFault(
        "the upstream is down", of_others.upstream_down, "upstream", "gives no usable answer"
    ),
    NightFault(
        "the upstream refuses a tenant's key",
        of_others.credential_refused,
        "upstream",
        "refuses the credential of night-0: HTTP 401",
        "GatewayCredentialRejected",
    ),
    NightFault("the upstream answers 429", of_others.upstream_limits, "upstream", r"\(429\)"),
    NightFault(
        "a master key is missing",
        of_others.master_key_missing,
        "master keys",
        r"The key \w+ is missing",
    ),
    NightFault(
        "no worker runs",
        of_gateway.no_worker,
        "processes",
        "No worker seen since",
        "GatewayNoWorker",
    ),
    NightFault(
        "a worker is frozen",
        of_gateway.frozen_worker,
        "processes",
        r"The worker on .* has been silent",
        "GatewayProcessStale",
    ),
    NightFault(
        "a worker has another version",
        of_gateway.other_version,
        "processes",
        r"runs version 0\.0\.9",
    ),
    NightFault(
        "the clock of a host is wrong",
        of_gateway.wrong_clock,
        "processes",
        "s ahead of Postgres's",
        "GatewayClockOff",
    ),
    NightFault(
        "a session holds the lock of the sweep",
        of_postgres.sweep_locked,
        "processes",
        r"application psql has held the lock of the sweep",
        "GatewaySweepLate",
    ),
    NightFault(
        "a tenant is suspended", of_gateway.suspended_tenant, "queues", "held back: suspended"
    ),
    NightFault(
        "the queue of a tenant is full",
        of_gateway.full_queue,
        "queues",
        r"queue of night-0 is full: 2 of 2",
    ),
    NightFault(
        "a receiver fails for days",
        of_gateway.failing_endpoint,
        "endpoints",
        "have failed",
        "GatewayEndpointsFailing",
    ),
    NightFault(
        "a setting has a typo",
        of_others.misspelt_setting,
        "settings",
        "did you mean GATEWAY_DELIVER_CONCURRENCY",
    ),
)
