"""Reconcile: look up at the upstream the jobs that are in doubt, before any of them is sent again.

A job is in doubt when its submit has no clear outcome: a timeout or reset after the request was
written, 5xx, a crash, or a restored database. The upstream's list is searched for the marker in the
job's metadata; one lookup serves all such jobs of a credential. A found job is `submitted`. One that is
not found is looked up a second time, as the list may lag, and only then sent again. A long list takes
several rounds, and other jobs go on meanwhile. A crash loses the progress of a lookup, nothing else.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.lifecycle import given_up, out_of_reach
from gateway.flows.claim.lease import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import Settled, announce, ending, settle
from gateway.flows.upstream.circuit_breaker import CredentialHealth, is_probe, judge_credential
from gateway.flows.upstream.credential_access import UpstreamAccess, choose_credential
from gateway.flows.upstream.find_by_marker import Lookup, SearchWindow
from gateway.ports import Access, Sealed, Trouble, Verb
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.tenancy import tenants
from gateway.store.work import circuit_breaker, polls, submits
from gateway.store.work.submits import Back, Doubt, Doubtful

VERB: Verb = "submit"
_CLAIM = 1_000
_ASKED = 100_000
_REMEMBERED = 1_000
# Seconds until the next round for jobs of a credential whose list is being searched already.
_BESIDE_SECONDS = 1.0


class LookupResult(NamedTuple):
    """What one round found out about the claimed jobs: upstream ids by job, and jobs not in the list.

    All others are looked up again `after` so many seconds. `calls` were made to the upstream in this
    round, for `asked` markers.
    """

    found: dict[UUID, str]
    missing: Sequence[Doubtful] = ()
    trouble: Trouble | Sealed | None = None
    calls: int = 0
    asked: int = 0
    after: float = 0.0


class Reconciler:
    """The reconciler of one process; it keeps the lookups that are not complete in memory."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        # By the credential of the jobs, and the credential that the upstream is asked with.
        self._lookups: dict[tuple[UUID, UUID], Lookup] = {}
        self._under_way: set[tuple[UUID, UUID]] = set()

    @property
    def remembered(self) -> int:
        """How many lookups are not complete."""
        return len(self._lookups)

    async def claim(self) -> int:
        """Claim jobs that are in doubt, start to look them up, and return how many there are."""
        deps, token = self._deps, self._deps.ids.uuid()
        async with claiming(deps, "doubt", token, deps.db.single()) as tx:
            if not (await submits.due(tx)).doubtful:
                return 0
            jobs = await submits.claim_doubtful(
                tx,
                _CLAIM,
                lease=deps.policy.lease,
                breaker=deps.policy.breaker_failures,
                token=token,
            )
        if jobs:
            deps.crash_point("doubt.claimed")
        groups: defaultdict[UUID, list[Doubtful]] = defaultdict(list)
        for job in jobs:
            groups[job.credential_id].append(job)
        for group in groups.values():
            deps.slots.start(VERB, self._resolve(group, token))
        return len(jobs)

    async def _resolve(self, jobs: Sequence[Doubtful], token: UUID) -> None:
        deps, started = self._deps, self._deps.clock.monotonic()
        until = started + deps.policy.lease
        upstream = await retry_while_unavailable(
            deps.clock, until, lambda: _access(deps, jobs[0].credential_id)
        )
        if upstream is None:
            return  # the tenant was erased meanwhile
        result = await retry_while_unavailable(
            deps.clock, until, lambda: self._look(upstream, jobs, until - deps.policy.lease_margin)
        )
        deps.crash_point("doubt.looked")
        await retry_while_unavailable(
            deps.clock, until, lambda: _record(deps, upstream, jobs, token, result)
        )
        deps.crash_point("doubt.committed")
        if len(jobs) >= _CLAIM:
            deps.queue.wake(VERB)
        deps.observer.done(
            "lookup",
            _outcome(result, jobs),
            seconds=deps.clock.monotonic() - started,
            credential_id=upstream.credential.id,
            jobs=len(jobs),
            found=len(result.found),
            calls=result.calls,
        )

    async def _look(
        self, upstream: UpstreamAccess, jobs: Sequence[Doubtful], until: float
    ) -> LookupResult:
        """One round; a list is not searched twice at the same time."""
        if isinstance(upstream.access, Sealed):
            return LookupResult({}, trouble=upstream.access)
        key = (jobs[0].credential_id, upstream.credential.id)
        if key in self._under_way:
            return LookupResult({}, after=_BESIDE_SECONDS)
        self._under_way.add(key)
        try:
            lookup = self._lookups.pop(key, None)
            if lookup is None or not any(_serves(lookup, job) for job in jobs):
                lookup = await self._begin(upstream.access, jobs)
            result = await self._search(lookup, jobs, until)
        finally:
            self._under_way.discard(key)
        if lookup.markers:
            self._remember(key, lookup)
        return result

    async def _search(self, lookup: Lookup, jobs: Sequence[Doubtful], until: float) -> LookupResult:
        """Continue a lookup, and collect what it shows of these jobs."""
        asked, before = len(lookup.markers), lookup.calls
        trouble = await lookup.run(until)
        found = {
            job.id: lookup.found[str(job.id)].upstream_id
            for job in jobs
            if str(job.id) in lookup.found
        }
        served = [job for job in jobs if lookup.is_complete and _serves(lookup, job)]
        missing = [job for job in served if job.id not in found]
        for id_ in (*found, *(job.id for job in served)):
            lookup.markers.pop(str(id_), None)
        after = self._deps.policy.poll_min
        return LookupResult(found, missing, trouble, lookup.calls - before, asked, after)

    async def _begin(self, access: Access, jobs: Sequence[Doubtful]) -> Lookup:
        """Start a lookup for these jobs and for all other due ones of their credential."""
        deps, lease = self._deps, self._deps.policy.lease
        async with deps.db.single() as tx:
            others = await submits.doubtful(tx, jobs[0].credential_id, lease=lease, limit=_ASKED)
        every = [*jobs, *others]
        window = SearchWindow(min(j.sent_at for j in every), max(j.sent_until for j in every))
        markers = {str(job.id): job.lookups for job in every}
        return Lookup(deps, access, markers, window, began_at=jobs[0].now)

    def _remember(self, key: tuple[UUID, UUID], lookup: Lookup) -> None:
        self._lookups[key] = lookup
        if len(self._lookups) > _REMEMBERED:
            del self._lookups[next(iter(self._lookups))]


def _serves(lookup: Lookup, job: Doubtful) -> bool:
    """Whether a lookup counts for a job: it must have begun after this look of the job was due."""
    return lookup.markers.get(str(job.id)) == job.lookups


def _outcome(result: LookupResult, jobs: Sequence[Doubtful]) -> str:
    if result.trouble is not None:
        return type(result.trouble).__name__.lower()
    is_complete = len(result.found) + len(result.missing) == len(jobs)
    return "complete" if is_complete else "unfinished"


async def _access(deps: Deps, credential_id: UUID) -> UpstreamAccess | None:
    async with deps.db.single() as tx:
        credential = await tenants.credential_by_id(tx, credential_id)
        return credential and await choose_credential(tx, deps, credential)


async def _record(
    deps: Deps,
    upstream: UpstreamAccess,
    jobs: Sequence[Doubtful],
    token: UUID,
    result: LookupResult,
) -> None:
    credential = upstream.credential
    health = CredentialHealth(
        credential.id,
        credential.tenant_id,
        credential.version,
        failures=0 if upstream.is_substitute else jobs[0].failures,
        rejected=credential.rejected_at is not None,
    )
    settled = Settled()
    async with deps.db.begin() as tx:
        if result.found:
            taken = [(id_, token, theirs) for id_, theirs in result.found.items()]
            await submits.submitted(tx, taken)
            await polls.poll_soon(tx, [(jobs[0].credential_id, "")], deps.policy.poll_min)
        if notes := _notes(deps, jobs, result):
            await lists.add_notes(tx, notes)
        if result.missing:
            settled = await _not_found(
                deps, tx, result.missing, token, is_substitute=upstream.is_substitute
            )
        rest = 0.0
        asked = result.calls or result.trouble is not None
        if upstream.is_substitute or (is_probe(health, deps.policy) and not asked):
            await circuit_breaker.unpause(tx, jobs[0].credential_id)
        if asked:
            rest = await judge_credential(tx, deps, health, [result.trouble])
        if unserved := _unserved(jobs, result):
            delay = max(rest, result.after)
            doubts = [Doubt(j.id, token, delay, j.lookups, j.strikes) for j in unserved]
            await submits.doubt(tx, doubts)
        deps.crash_point("doubt.recorded")
    announce(deps, settled)
    deps.queue.wake("poll" if result.found else "submit", after=deps.policy.poll_min)
    if len(result.found) < len(jobs):
        deps.queue.wake("submit", after=deps.policy.lookup_delay)


def _unserved(jobs: Sequence[Doubtful], result: LookupResult) -> list[Doubtful]:
    """The jobs that this round did not settle."""
    served = {*result.found, *(job.id for job in result.missing)}
    return [job for job in jobs if job.id not in served]


def _notes(deps: Deps, jobs: Sequence[Doubtful], result: LookupResult) -> list[NewNote]:
    """Notes for the timelines of the jobs that this round settled."""
    cost = f"{result.calls} call{'' if result.calls == 1 else 's'}"
    shared = f", which served {result.asked} jobs" if result.asked > 1 else ""
    missing = {job.id for job in result.missing}
    notes: list[NewNote] = []
    for job in jobs:
        if job.id in result.found:
            text = f"The upstream has the job: found at look {job.lookups + 1}, by {cost}{shared}."
        elif job.id in missing:
            text = f"The upstream's list does not show the job at look {job.lookups + 1} of"
            text += f" {deps.policy.lookups}, by {cost}{shared}."
        else:
            continue
        notes.append(NewNote(deps.ids.uuid(), job.tenant_id, job.id, "submit.looked_up", text))
    return notes


async def _not_found(
    deps: Deps, tx: Tx, jobs: Sequence[Doubtful], token: UUID, *, is_substitute: bool
) -> Settled:
    """Schedule the next look; after the last one send the job again, or fail it where that is unsafe."""
    policy = deps.policy
    last = [job for job in jobs if job.lookups >= policy.lookups - 1]
    again = [
        Doubt(j.id, token, policy.lookup_delay, j.lookups + 1, j.strikes)
        for j in jobs
        if j.lookups < policy.lookups - 1
    ]
    if again:
        await submits.doubt(tx, again)
    to_fail = [job for job in last if is_substitute or job.strikes >= policy.strikes]
    ends = [
        ending(job.id, out_of_reach() if is_substitute else given_up(job.strikes), token)
        for job in to_fail
    ]
    repeat = [job for job in last if not is_substitute and job.strikes < policy.strikes]
    if repeat:
        await _repeat(deps, tx, repeat, token)
    return await settle(tx, deps, ends)


async def _repeat(deps: Deps, tx: Tx, jobs: Sequence[Doubtful], token: UUID) -> None:
    backs = [Back(job.id, token, 0.0, counted=True, strikes=job.strikes) for job in jobs]
    await submits.back(tx, backs)
    detail = "The upstream does not have the job, so it is submitted again."
    notes = [NewNote(deps.ids.uuid(), j.tenant_id, j.id, "submit.repeated", detail) for j in jobs]
    await lists.add_notes(tx, notes)
