"""The composition root: builds the dependencies of the flows from the settings."""

import os
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from importlib import import_module
from urllib.parse import urlsplit

import structlog

from gateway import __version__, log, metrics
from gateway.adapters.clock import PostgresClock, SystemClock, SystemIds
from gateway.adapters.musicai.client import MusicAi
from gateway.adapters.redis.health import RedisHealth
from gateway.adapters.tenant_rate_limit import WindowLimiter
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.adapters.webhooks.proxy_tunnel import Proxy
from gateway.adapters.webhooks.sender import HttpSender
from gateway.core.crypto.cipher import Cipher, Secret
from gateway.core.policy import Policy
from gateway.core.portal.look import PortalAccess
from gateway.core.roles import Role
from gateway.core.sign_in.staff_rules import StaffRules
from gateway.core.trace_context import trace_id_of
from gateway.flows.deps import Deps, no_crash
from gateway.flows.process.read_replica import Fitness, Replica
from gateway.flows.process.slots import Slots
from gateway.flows.process.vitals import Vitals
from gateway.flows.upstream.workflow_names import WorkflowNames
from gateway.ports import Clock, IdentityProvider, Ids, SharedClock, Span, Tracer
from gateway.settings import Settings, trace_settings_of_environment, unknown_settings
from gateway.store.connection.failure_causes import Cause, Trouble
from gateway.store.database import Database, open_database
from gateway.store.processes import Identity

_TROUBLES = {
    Trouble.AWAY: "postgres is away",
    Trouble.DENIED: "postgres refuses the login",
    Trouble.READ_ONLY: "postgres is read-only",
    Trouble.BUSY: "postgres: no connection is free",
    Trouble.SCHEMA: "postgres: the schema has the wrong version",
    Trouble.LOCKED: "postgres: a statement hit a lock or a conflict",
    Trouble.SLOW: "postgres: a statement took too long",
}
_log = structlog.get_logger("gateway.postgres")
_AGENT = f"job-gateway/{__version__}"
# Not logged: work that found nothing to do, accept, which has the line of its request, and secrets that no
# master key opens, which are logged once a minute instead of by each waiting job.
_QUIET = frozenset(
    {("sweep", "quiet"), ("poll", "ok"), ("claim", "shared")}
    | {(work, "sealed") for work in ("submit", "poll", "lookup")}
)
_TROUBLE = frozenset(
    {"denied", "busy", "unknown", "broken", "exhausted", "gone", "distrusted", "sealed"}
)


class Report:
    """Implements the port Observer: one wide log line and the metrics of each unit of work."""

    def __init__(self, clock: Clock, vitals: Vitals) -> None:
        self._clock = clock
        self._vitals = vitals

    def done(
        self, work: str, outcome: str, *, seconds: float, span: Span | None = None, **fields: object
    ) -> None:
        """Report a finished unit of work, and end its span."""
        metrics.observe(work, outcome, seconds, fields)
        self._vitals.note(work, outcome, self._clock.monotonic())
        self._vitals.throughput.note(work, outcome, seconds, fields)
        if span is not None:
            span.end(outcome, **fields)
            fields["trace_id"] = trace_id_of(span.traceparent)
        if (work, outcome) in _QUIET or work == "accept":
            return
        level = "warning" if outcome in _TROUBLE else "info"
        wide = {"outcome": outcome, "seconds": round(seconds, 4), **fields}
        log.write_wide(level, work, self._clock.now(), wide)


def host_clock() -> Clock:
    """Return the clock of this host, without the correction to Postgres's."""
    return SystemClock()


def identity_of(kind: str, ids: Ids) -> Identity:
    """Describe this process to the others; `kind` is `api` or `worker`."""
    return Identity(ids.uuid(), kind, socket.gethostname(), os.getpid(), __version__)


def policy_of(settings: Settings) -> Policy:
    """Build the engine's policy from the settings."""
    return Policy(
        submit_concurrency=settings.submit_concurrency,
        deliver_concurrency=settings.deliver_concurrency,
        max_in_flight=settings.max_in_flight,
        max_queued=settings.max_queued,
        max_rate=settings.max_rate,
        max_endpoints=settings.max_endpoints,
        poll_budget=settings.poll_budget,
        upstream_rate=settings.upstream_rate,
        delivery_delays=settings.delivery_delays,
        deadline=settings.job_deadline_seconds,
        keep_days={
            "payloads": settings.keep_payloads_days,
            "jobs": settings.keep_jobs_days,
            "attempts": settings.keep_attempts_days,
            "events": settings.keep_events_days,
        },
    )


def warn_of_unknown_settings() -> None:
    """Log a warning for each variable that looks like a setting and is none."""
    for unknown in unknown_settings():
        _log.warning("a variable is not a setting", name=unknown.name, nearest=unknown.nearest)


def sender_of(settings: Settings) -> HttpSender:
    """Build the webhook sender with the addresses that it may call."""
    private = settings.allow_private_callbacks
    proxy = settings.egress_proxy.get_secret_value()
    return HttpSender(
        allow_private=private,
        allowed_networks=settings.callback_networks,
        allowed_ports=frozenset() if private else settings.callback_ports,
        allow_http=private,
        timeout=settings.delivery_timeout_seconds,
        proxy=Proxy.of(proxy) if proxy else None,
    )


@asynccontextmanager
async def _opening_primary(settings: Settings, name: str) -> AsyncGenerator[Database]:
    """The database, which need not answer yet."""
    url = settings.database_url.get_secret_value()
    database = open_database(url, pool=settings.database_pool, name=name)
    database.availability.on_change(partial(_log_postgres, database.place))
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _opening_replica(
    settings: Settings, name: str, primary: Database, clock: SharedClock
) -> AsyncGenerator[Replica | None]:
    """The read replica; None without a setting. It is used once something checks it."""
    url = settings.read_database_url.get_secret_value()
    if not url:
        yield None
        return
    database = open_database(url, pool=settings.database_pool, name=name)
    listener = partial(_log_replica, database.place)
    try:
        yield Replica(database, primary, clock, settings.read_max_lag_seconds, listener)
    finally:
        await database.close()


def _log_replica(place: str, fitness: Fitness) -> None:
    """Log when reads of history move to another server."""
    if fitness.code:
        _log.warning(
            "history is read from the primary, not the replica",
            cause=fitness.cause,
            replica=place,
        )
    else:
        _log.info("history is read from the replica", replica=place)


def _log_postgres(place: str, cause: Cause | None) -> None:
    """Log when the database fails, and when it can be used again."""
    if cause is None:
        _log.info("postgres can be used again", postgres=place)
    else:
        _log.warning(_TROUBLES[cause.trouble], cause=cause.text, postgres=place)


@asynccontextmanager
async def open_deps(
    settings: Settings,
    name: str,
    crash_point: Callable[[str], None] = no_crash,
    health: RedisHealth | None = None,
) -> AsyncGenerator[Deps]:
    """Open everything that a process needs; Postgres shows it under `name`.

    A process also starts while Postgres or Redis is away. Raises InvalidSettingsError if Redis is a
    Cluster. `health` is shared with other users of Redis in the process.
    """
    # Wake-ups and rate limits use the clock of the host, as arq does; everything else uses Postgres's.
    host, vitals = host_clock(), Vitals()
    clock = PostgresClock(host)
    ids = SystemIds(clock)
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_opening_primary(settings, name))
        replica = _opening_replica(settings, name, database, clock)
        upstream, sender = await stack.enter_async_context(_calling_out(settings, clock, vitals))
        redis = settings.redis_url.get_secret_value()
        limiter = WindowLimiter(redis, host)
        stack.push_async_callback(limiter.aclose)
        deps = Deps(
            db=database,
            upstream=upstream,
            catalogue=upstream,
            sender=sender,
            queue=await stack.enter_async_context(ArqQueue(redis, host, ids, health)),
            limiter=limiter,
            clock=clock,
            ids=ids,
            observer=Report(clock, vitals),
            cipher=Cipher(settings.master_keys),
            policy=policy_of(settings),
            upstream_url=settings.upstream_url,
            public_url=settings.public_url,
            portal=PortalAccess(settings.portal, settings.portal_frame_ancestors),
            slots=Slots(clock),
            vitals=vitals,
            identity_provider=await stack.enter_async_context(_identity_provider(settings, clock)),
            staff_rules=_staff_rules(settings),
            tracer=await stack.enter_async_context(_tracing(clock, name)),
            replica=await stack.enter_async_context(replica),
            crash_point=crash_point,
        )
        await stack.enter_async_context(_naming_workflows(deps))
        yield deps


def _staff_rules(settings: Settings) -> StaffRules:
    roles = {value: Role(role) for value, role in settings.oidc_roles.items()}
    return StaffRules(settings.oidc_roles_claim, roles, settings.oidc_name_claim)


@asynccontextmanager
async def _identity_provider(
    settings: Settings, clock: Clock
) -> AsyncGenerator[IdentityProvider | None]:
    """The provider that staff sign in with; None without a setting. It is asked when it is first needed."""
    issuer = settings.oidc_issuer
    if not issuer:
        yield None
        return
    # Not imported without need: it takes 0.06 s and 2 MB.
    adapter = import_module("gateway.adapters.oidc.provider")
    client = adapter.ProviderClient(
        issuer=issuer,
        client_id=settings.oidc_client_id,
        client_secret=Secret(settings.oidc_client_secret.get_secret_value()),
        scopes=settings.oidc_scopes,
        redirect_uri=f"{settings.public_url}/console/oidc/callback",
        left_uri=f"{settings.public_url}/console/sign-in",
        name=settings.oidc_provider_name or urlsplit(issuer).hostname,
    )
    provider = adapter.OidcProvider(client, clock, user_agent=_AGENT)
    try:
        yield provider
    finally:
        await provider.close()


@asynccontextmanager
async def _calling_out(
    settings: Settings, clock: Clock, vitals: Vitals
) -> AsyncGenerator[tuple[MusicAi, HttpSender]]:
    """Open what calls other servers: the client of the upstream, and the sender of webhooks."""
    rate, listener = settings.upstream_rate, vitals.note_call
    upstream = MusicAi(clock, user_agent=_AGENT, rate=rate, listener=listener)
    sender = sender_of(settings)
    try:
        yield upstream, sender
    finally:
        await sender.aclose()
        await upstream.close()


@asynccontextmanager
async def _tracing(clock: Clock, name: str) -> AsyncGenerator[Tracer | None]:
    """Export traces while the block runs, if the OTEL_* variables ask for them.

    What is in the way of traces is logged, and does not keep the process from starting.
    """
    wanted = trace_settings_of_environment()
    obstacle, tracer = wanted.obstacle, None
    if wanted.is_on:
        try:
            # Not imported without need: it takes 0.15 s and 9 MB.
            tracer = import_module("gateway.adapters.tracing.otlp").OtlpTracer(clock, name)
        except ModuleNotFoundError:
            obstacle = "OpenTelemetry is not installed: pip install 'job-gateway[otel]'"
    if obstacle:
        _log.warning("traces are off", cause=obstacle)
    try:
        yield tracer
    finally:
        if tracer is not None:
            await tracer.close()


@asynccontextmanager
async def _naming_workflows(deps: Deps) -> AsyncGenerator[None]:
    """Let the metrics learn the names of workflows while the block runs."""
    names = WorkflowNames(deps, metrics.workflows.learn)
    try:
        with metrics.workflows.asking(names.ask):
            yield
    finally:
        await names.close()
