"""Doctor: use every part of the gateway once, and say what is wrong and what to do about it.

It runs for `gateway doctor`, on the settings of a process. It reads, writes one temporary table of Postgres
that goes at once, asks the upstream for the name of the application of some credentials, and the identity
provider for its description. A part that
cannot be reached is a finding, and the other parts are checked all the same. Each check has a time limit.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from gateway.core.diagnosis.disk import judge_disk, judge_free, judge_tables
from gateway.core.diagnosis.findings import DoctorFinding, doubtful, fine, wrong
from gateway.core.diagnosis.partitions import judge_partitions
from gateway.core.diagnosis.server import (
    away_advice,
    judge_clock,
    judge_guards,
    judge_latency,
    judge_replica,
    judge_schema,
    judge_server,
)
from gateway.core.diagnosis.transactions import judge_transactions
from gateway.errors import Unavailable
from gateway.flows.admin import master_keys
from gateway.flows.admin.doctor_gateway import check_gateway
from gateway.flows.admin.doctor_upstream import check_upstream
from gateway.flows.deps import Deps
from gateway.flows.health.readiness import needed_revision, readiness_of
from gateway.store import diagnostics
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Tx
from gateway.store.migration.migrate import revision

Check = Callable[[Deps], AsyncIterator[DoctorFinding]]

_READY_SECONDS = 5.0
# Statements end after ten seconds by themselves, but not a commit that waits for a standby.
_CHECK_SECONDS = 15.0
_REPLICA_SECONDS = 3.0
_ROUND_TRIPS = 5
_SCHEMA_ADVICE = "Run `gateway db upgrade`."
_LONGEST = 300


async def diagnose(deps: Deps) -> AsyncIterator[DoctorFinding]:
    """Check Postgres, master keys, sign-in, processes, queues, endpoints and the upstream, one by one."""
    ready = await readiness_of(deps.db, _READY_SECONDS)
    if ready.status == "ok":
        yield fine("postgres", "The login may take on the role of tenants; the encoding is UTF8.")
    else:
        is_behind = ready.status == "schema behind"
        advice = _SCHEMA_ADVICE if is_behind else away_advice(ready.cause)
        yield wrong("postgres", f"{deps.db.place}: {ready.status}: {ready.cause}", advice)
    for subject, check in CHECKS.items():
        for finding in await examine(deps, subject, check):
            yield finding


async def examine(
    deps: Deps, subject: str, check: Check, seconds: float = _CHECK_SECONDS
) -> list[DoctorFinding]:
    """Run one check; what keeps it from its end is its last finding."""
    found: list[DoctorFinding] = []
    try:
        async with asyncio.timeout(seconds):
            async for finding in check(deps):
                found.append(finding)  # noqa: PERF401 - those before a failure count
    except Unavailable as error:
        text = f"Could not be checked: {error.cause or error.detail}"
        found.append(wrong(subject, text, away_advice(error.brief)))
    except TimeoutError:
        text = f"Could not be checked: no answer within {seconds:g} s."
        found.append(wrong(subject, text, away_advice("")))
    except Exception as error:  # noqa: BLE001 - a defect of one check must not hide what the others find
        line = str(error).partition("\n")[0][:_LONGEST]
        text = f"Could not be checked: {type(error).__name__}: {line}"
        found.append(wrong(subject, text, "Look at the rights of the login; else report a bug."))
    return found


async def _postgres(deps: Deps) -> AsyncIterator[DoctorFinding]:
    link = await deps.db.link()
    async with deps.db.begin() as tx:
        server, guards = await diagnostics.server(tx), await diagnostics.guards(tx)
    for finding in judge_server(server, is_local=link.is_local):
        yield finding
    for finding in judge_guards(GUARDS, guards, is_pooled=link.is_pooled):
        yield finding
    async with deps.db.single() as tx:
        trips = [await _round_trip(deps, tx) for _ in range(_ROUND_TRIPS)]
        present = await revision(tx)
    seconds, ahead = min(trips)
    yield judge_latency("postgres", seconds)
    yield judge_clock(ahead)
    for finding in judge_schema(present, needed_revision()):
        yield finding


async def _replica(deps: Deps) -> AsyncIterator[DoctorFinding]:
    replica = deps.replica
    if replica is None:
        return
    await replica.reach(deps.clock.now(), _REPLICA_SECONDS)
    yield judge_replica(
        replica.database.place, replica.fitness.cause if not replica.is_fit else "", replica.lag
    )


async def _round_trip(deps: Deps, tx: Tx) -> tuple[float, float]:
    """Seconds of a round trip, and by how many seconds the clock of this host is ahead."""
    started, sent_at = deps.clock.monotonic(), deps.clock.now()
    there = await diagnostics.now(tx)
    seconds = deps.clock.monotonic() - started
    return seconds, (sent_at - there).total_seconds() + seconds / 2


async def _disk(deps: Deps) -> AsyncIterator[DoctorFinding]:
    async with deps.db.single() as tx:
        disk, slots = await diagnostics.disk(tx), await diagnostics.slots(tx)
    for finding in judge_disk(disk, slots):
        yield finding
    try:
        async with deps.db.begin() as tx:
            has_written = await diagnostics.write(tx)
    except Unavailable as error:
        yield wrong("disk", f"A write fails: {error.cause}.", away_advice(error.brief))
    else:
        yield judge_free(has_written=has_written)


async def _tables(deps: Deps) -> AsyncIterator[DoctorFinding]:
    async with deps.db.single() as tx:
        tables, invalid = await diagnostics.tables(tx), await diagnostics.invalid_indexes(tx)
        months, held = await diagnostics.partitions(tx), await diagnostics.open_transactions(tx)
    for finding in judge_tables(tables, invalid):
        yield finding
    for finding in judge_partitions(months, deps.clock.now()):
        yield finding
    for finding in judge_transactions(held):
        yield finding


async def _master_keys(deps: Deps) -> AsyncIterator[DoctorFinding]:
    uses = await master_keys.uses(deps.db, deps.cipher)
    missing = [use for use in uses if use.rank is None]
    for use in missing:
        yield wrong(
            "master keys",
            f"The key {use.id} is missing, which seals {use.total} secrets.",
            "Add it to GATEWAY_MASTER_KEY, behind the first. If it is lost: `gateway secret give-up`.",
        )
    if not missing:
        shares = ", ".join(f"{use.id} opens {use.total}" for use in uses)
        yield fine(
            "master keys", f"They open all of {sum(use.total for use in uses)} secrets: {shares}."
        )
    if any(use.rank for use in uses if use.total):
        text = "Some secrets are sealed with an older key."
        yield doubtful("master keys", text, "Run `gateway secret reseal`.")


async def _sign_in(deps: Deps) -> AsyncIterator[DoctorFinding]:
    provider = deps.identity_provider
    if provider is None:
        return
    fault = await provider.check()
    if fault is None:
        yield fine("sign-in", f"{provider.name} answers with a description and keys that fit.")
    else:
        advice = "People can sign in with keys meanwhile. See docs/console.md, Sign in with OpenID Connect."
        yield doubtful(
            "sign-in", f"{provider.name} cannot be used: {fault.cause or fault.text}", advice
        )


CHECKS: dict[str, Check] = {
    "postgres": _postgres,
    "disk": _disk,
    "read replica": _replica,
    "tables": _tables,
    "master keys": _master_keys,
    "sign-in": _sign_in,
    "processes": check_gateway,
    "upstream": check_upstream,
}
