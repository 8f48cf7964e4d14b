"""The doctor at the gateway itself: processes, what is held back, full queues, failing endpoints."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

from gateway.core.diagnosis.findings import DoctorFinding, Level, doubtful, fine
from gateway.core.diagnosis.transactions import judge_sweep_lock
from gateway.flows.deps import Deps
from gateway.flows.health.overview import Overview, overview
from gateway.flows.health.status import problems_of
from gateway.store import diagnostics
from gateway.store.diagnostics import FullQueue

_KINDS = {"api": "API process", "worker": "worker"}
# The page of each fault, in docs/runbooks/.
RUNBOOKS = {
    "NO_WORKER": "no-worker",
    "API_STALE": "process-stale",
    "WORKER_STALE": "process-stale",
    "SWEEP_LATE": "sweep-late",
    "PRUNE_LATE": "prune-late",
    "QUEUE_SLOW": "queue-slow",
    "VERSION_DIFFERS": "versions-differ",
    "CLOCK_OFF": "clock-off",
}

# What holds rows back and does not end by itself, and what an operator does about it.
_HELD = {
    "suspended": "`gateway tenant list` shows who is suspended; `gateway tenant resume SLUG`.",
    "no_credential": "`gateway credential put SLUG` for the tenants without one.",
    "credential_rejected": "`gateway credential put SLUG`: the upstream refuses the present key.",
    "credential_sealed": "`gateway secret status` names the missing master key.",
    "circuit_open": "The upstream fails: look at its status page. It is tried again by itself.",
}


async def check_gateway(deps: Deps) -> AsyncIterator[DoctorFinding]:
    """Judge what the processes say of themselves, and the work that waits."""
    found = await overview(deps)
    yield fine("processes", f"Alive: {_alive(found, 'api')}, {_alive(found, 'worker')}.")
    problems = list(problems_of(found))
    for problem in problems:
        level = Level.ERROR if problem.grave else Level.WARNING
        advice = f"See docs/runbooks/gateway-{RUNBOOKS[problem.code]}.md."
        yield DoctorFinding("processes", level, problem.message, advice)
    for finding in _without_redis(found):
        yield finding
    async with deps.db.single() as tx:
        full = await diagnostics.full_queues(tx, deps.policy.max_queued)
        is_late = any(problem.code == "SWEEP_LATE" for problem in problems)
        holders = await diagnostics.sweep_lock(tx)
    if is_late:
        for finding in judge_sweep_lock(holders):
            yield finding
    for finding in (*_held(found, full), *_endpoints(found)):
        yield finding


def _alive(found: Overview, kind: str) -> str:
    versions = Counter(
        one.version for one in found.processes if (one.kind, one.state) == (kind, "ok")
    )
    name = _KINDS[kind]
    if not versions:
        return f"no {name}"
    return ", ".join(
        f"{count} {name}{'' if count == 1 else 'es' if kind == 'api' else 's'} of version {version}"
        for version, count in sorted(versions.items())
    )


def _without_redis(found: Overview) -> Iterator[DoctorFinding]:
    for one in found.processes:
        if one.state == "ok" and not one.redis:
            text = f"The {one.kind} on {one.host} (pid {one.pid}) cannot use Redis."
            advice = "See docs/runbooks/gateway-redis-away.md. Its log names the cause."
            yield doubtful("processes", text, advice)


def _held(found: Overview, full: Sequence[FullQueue]) -> Iterator[DoctorFinding]:
    lines = [line for line in found.lines if line.reason and line.rows]
    for line in lines:
        text = f"{line.rows} rows in the queue {line.queue} are held back: {line.reason}"
        advice = _HELD.get(line.reason or "", "")
        level = Level.WARNING if advice else Level.OK
        yield DoctorFinding("queues", level, f"{text}.", advice)
    for one in full:
        text = (
            f"The queue of {one.slug} is full: {one.waiting:,} of {one.most:,} jobs wait, and more are"
            " refused with 429."
        )
        advice = f"Find out what holds them; or `gateway tenant update {one.slug} --max-queued N`."
        yield doubtful("queues", text, advice)
    if not lines and not full:
        yield fine("queues", "Nothing is held back.")


def _endpoints(found: Overview) -> Iterator[DoctorFinding]:
    disabled = found.failing[100]
    failing = found.failing[50] - disabled
    if failing:
        text = f"{failing} endpoints have failed for at least half of the time until they are disabled."
        advice = "`gateway endpoint list --tenant SLUG` shows `failingSince`; tell their tenants."
        yield doubtful("endpoints", text, advice)
    if disabled:
        text = f"{disabled} endpoints were disabled, because every attempt failed for days."
        advice = "Their tenants repair the receiver, then: `gateway endpoint enable ID`."
        yield doubtful("endpoints", text, advice)
    if not failing and not disabled:
        yield fine("endpoints", "None is failing for long.")
