"""Doctor: use every part of the gateway once, and say what is wrong and what to do about it.

It runs for `gateway doctor`, on the settings of a process. It reads, and asks the upstream for the name of
the application of some credentials; it writes nothing. A part that cannot be reached is a finding, and
the other parts are checked all the same.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import NamedTuple

from gateway.core import diagnosis
from gateway.core.crypto.cipher import Secret
from gateway.core.diagnosis import DoctorFinding, Level
from gateway.core.model import Credential
from gateway.errors import Unavailable
from gateway.flows.admin import master_keys
from gateway.flows.deps import Deps
from gateway.flows.health.overview import Overview, overview
from gateway.flows.health.readiness import readiness_of
from gateway.flows.health.status import problems_of
from gateway.flows.upstream.credential_access import open_access
from gateway.ports import Access, Denied, Sealed, Trouble
from gateway.store import diagnostics
from gateway.store.connection.connect import GUARDS
from gateway.store.database import Tx
from gateway.store.tenancy import tenants

_READY_SECONDS = 5.0
_REPLICA_SECONDS = 3.0
_ROUND_TRIPS = 5
# Of thousands of tenants the first ones are tried, so that it ends soon and is no burden.
_MOST_TENANTS = 20
_CALLS_AT_ONCE = 5
_SCHEMA_ADVICE = "Run `gateway db upgrade`."
_AWAY_ADVICE = "Check GATEWAY_DATABASE_URL, the server, and the network between."

# What holds rows back and does not end by itself, and what an operator does about it.
_HELD = {
    "suspended": "`gateway tenant list` shows who is suspended; `gateway tenant resume SLUG`.",
    "no_credential": "`gateway credential put SLUG` for the tenants without one.",
    "credential_rejected": "`gateway credential put SLUG`: the upstream refuses the present key.",
    "credential_sealed": "`gateway secret status` names the missing master key.",
    "circuit_open": "The upstream fails: look at its status page. It is tried again by itself.",
}


class _Asked(NamedTuple):
    """A tenant's newest credential, which the upstream is asked with."""

    slug: str
    credential: Credential


async def diagnose(deps: Deps) -> AsyncIterator[DoctorFinding]:
    """Check Postgres, master keys, processes, queues, endpoints and the upstream, one by one."""
    ready = await readiness_of(deps.db, _READY_SECONDS)
    if ready.status != "ok":
        advice = _SCHEMA_ADVICE if ready.status == "schema behind" else _AWAY_ADVICE
        text = f"{deps.db.place}: {ready.status}: {ready.cause}"
        yield DoctorFinding("postgres", Level.ERROR, text, advice)
    for subject, check in _CHECKS.items():
        try:
            async for finding in check(deps):
                yield finding
        except Unavailable as error:
            text = f"Could not be checked: {error.cause or error.detail}"
            yield DoctorFinding(subject, Level.ERROR, text, _AWAY_ADVICE)


async def _postgres(deps: Deps) -> AsyncIterator[DoctorFinding]:
    link = await deps.db.link()
    async with deps.db.begin() as tx:
        server, guards = await diagnostics.server(tx), await diagnostics.guards(tx)
    for finding in diagnosis.judge_server(server, is_local=link.is_local):
        yield finding
    for finding in diagnosis.judge_guards(GUARDS, guards, is_pooled=link.is_pooled):
        yield finding
    async with deps.db.single() as tx:
        trips = [await _round_trip(deps, tx) for _ in range(_ROUND_TRIPS)]
    seconds, ahead = min(trips)
    yield diagnosis.judge_latency("postgres", seconds)
    yield diagnosis.judge_clock(ahead)


async def _replica(deps: Deps) -> AsyncIterator[DoctorFinding]:
    replica = deps.replica
    if replica is None:
        return
    await replica.reach(deps.clock.now(), _REPLICA_SECONDS)
    yield diagnosis.judge_replica(
        replica.database.place, replica.fitness.cause if not replica.is_fit else "", replica.lag
    )


async def _round_trip(deps: Deps, tx: Tx) -> tuple[float, float]:
    """Seconds of a round trip, and by how many seconds the clock of this host is ahead."""
    started, sent_at = deps.clock.monotonic(), deps.clock.now()
    there = await diagnostics.now(tx)
    seconds = deps.clock.monotonic() - started
    return seconds, (sent_at - there).total_seconds() + seconds / 2


async def _tables(deps: Deps) -> AsyncIterator[DoctorFinding]:
    async with deps.db.single() as tx:
        tables, invalid = await diagnostics.tables(tx), await diagnostics.invalid_indexes(tx)
        held = await diagnostics.open_transactions(tx)
    for finding in diagnosis.judge_tables(tables, invalid):
        yield finding
    for finding in diagnosis.judge_transactions(held):
        yield finding


async def _master_keys(deps: Deps) -> AsyncIterator[DoctorFinding]:
    uses = await master_keys.uses(deps.db, deps.cipher)
    missing = [use for use in uses if use.rank is None]
    for use in missing:
        yield DoctorFinding(
            "master keys",
            Level.ERROR,
            f"The key {use.id} is missing, which seals {use.total} secrets.",
            "Add it to GATEWAY_MASTER_KEY, behind the first. If it is lost: `gateway secret give-up`.",
        )
    if not missing:
        count = sum(use.total for use in uses)
        yield DoctorFinding("master keys", Level.OK, f"They open all of {count} secrets.")
    if any(use.rank for use in uses if use.total):
        text = "Some secrets are sealed with an older key."
        yield DoctorFinding("master keys", Level.WARNING, text, "Run `gateway secret reseal`.")


async def _gateway(deps: Deps) -> AsyncIterator[DoctorFinding]:
    found = await overview(deps)
    alive = Counter(one.kind for one in found.processes if one.state == "ok")
    text = f"Alive: {alive['api']} API processes, {alive['worker']} workers."
    yield DoctorFinding("processes", Level.OK, text)
    for problem in problems_of(found):
        level = Level.ERROR if problem.grave else Level.WARNING
        yield DoctorFinding("processes", level, problem.message, f"See {problem.code} in the docs.")
    for finding in _held(found):
        yield finding
    for finding in _endpoints(found):
        yield finding


def _held(found: Overview) -> Iterator[DoctorFinding]:
    lines = [line for line in found.lines if line.reason and line.rows]
    for line in lines:
        text = f"{line.rows} rows in the queue {line.queue} are held back: {line.reason}"
        advice = _HELD.get(line.reason or "", "")
        level = Level.WARNING if advice else Level.OK
        yield DoctorFinding("queues", level, f"{text}.", advice)
    if not lines:
        yield DoctorFinding("queues", Level.OK, "Nothing is held back.")


def _endpoints(found: Overview) -> Iterator[DoctorFinding]:
    disabled = found.failing[100]
    failing = found.failing[50] - disabled
    if failing:
        text = f"{failing} endpoints have failed for at least half of the time until they are disabled."
        advice = "`gateway endpoint list --tenant SLUG` shows `failingSince`; tell their tenants."
        yield DoctorFinding("endpoints", Level.WARNING, text, advice)
    if disabled:
        text = f"{disabled} endpoints were disabled, because every attempt failed for days."
        advice = "Their tenants repair the receiver, then: `gateway endpoint enable ID`."
        yield DoctorFinding("endpoints", Level.WARNING, text, advice)
    if not failing and not disabled:
        yield DoctorFinding("endpoints", Level.OK, "None is failing for long.")


async def _upstream(deps: Deps) -> AsyncIterator[DoctorFinding]:
    async with deps.db.single() as tx:
        tried = await tenants.page(tx, None, _MOST_TENANTS)
        credentials = [(one.slug, await tenants.credential(tx, one.id)) for one in tried]
    found = [_Asked(slug, credential) for slug, credential in credentials if credential is not None]
    if not found:
        yield await _without_credential(deps)
        return
    turns = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def ask(access: Access | Sealed) -> str | Trouble | Sealed:
        async with turns:
            return (
                access if isinstance(access, Sealed) else await deps.catalogue.application(access)
            )

    answers = await asyncio.gather(*(ask(open_access(deps, one.credential)) for one in found))
    for finding in _judge_answers(found, answers):
        yield finding


async def _without_credential(deps: Deps) -> DoctorFinding:
    """Try the upstream with a key that it must refuse."""
    access = Access(deps.ids.uuid(), deps.upstream_url, Secret("doctor"))
    answer = await deps.catalogue.application(access)
    if isinstance(answer, (str, Denied)):
        text = f"{deps.upstream_url} answers. No tenant has a credential yet."
        return DoctorFinding("upstream", Level.OK, text)
    return _unusable(deps.upstream_url, answer)


def _judge_answers(
    asked: Sequence[_Asked], answers: Sequence[str | Trouble | Sealed]
) -> Iterator[DoctorFinding]:
    accepted, silent = Counter[str](), dict[str, Trouble]()
    for one, answer in zip(asked, answers, strict=True):
        url = one.credential.base_url
        if isinstance(answer, str):
            accepted[url] += 1
        elif isinstance(answer, Denied):
            text = f"The upstream refuses the credential of {one.slug}: HTTP {answer.status}."
            advice = f"`gateway credential put {one.slug}`: its jobs wait until then."
            yield DoctorFinding("upstream", Level.WARNING, text, advice)
        elif isinstance(answer, Sealed):
            text = f"The credential of {one.slug} cannot be opened: {answer.reason}."
            yield DoctorFinding("upstream", Level.ERROR, text, "See the findings on master keys.")
        else:
            silent[url] = answer
    for url, answer in silent.items():
        yield _unusable(url, answer)
    for url, count in accepted.items():
        text = f"{url} accepts the credentials of {count} of {len(asked)} tenants that were tried."
        yield DoctorFinding("upstream", Level.OK, text)


def _unusable(url: str, answer: Trouble) -> DoctorFinding:
    reason = f"HTTP {answer.status}" if isinstance(answer, Denied) else answer.reason
    text = f"{url} gives no usable answer: {reason}."
    advice = "Check GATEWAY_UPSTREAM_URL, the network, and the upstream's status page."
    return DoctorFinding("upstream", Level.ERROR, text, advice)


_CHECKS = {
    "postgres": _postgres,
    "read replica": _replica,
    "tables": _tables,
    "master keys": _master_keys,
    "processes": _gateway,
    "upstream": _upstream,
}
