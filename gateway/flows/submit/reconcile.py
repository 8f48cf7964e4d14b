"""Doubt: find out upstream what became of submits without a clear answer, before any repeat.

One lookup serves all doubtful jobs of a credential. A job that is not found is looked for a second
time, as the list may lag, and only then submitted again. A lookup of a long list takes several
rounds; its end is no failure of the upstream, and other jobs go on meanwhile. A crash loses how far
the lookup came, and nothing else.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.core.lifecycle import given_up, out_of_reach
from gateway.flows.claim.claiming import claiming
from gateway.flows.claim.retry_unavailable import retry_while_unavailable
from gateway.flows.deps import Deps
from gateway.flows.settle.settlement import Settled, announce, ending, settle
from gateway.flows.upstream.credential_access import UpstreamAccess, asking_for
from gateway.flows.upstream.credential_health import CredentialHealth, is_probe, judge_credential
from gateway.flows.upstream.find_by_marker import Lookup, SearchWindow
from gateway.ports import Access, Sealed, Trouble, Verb
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.lists import NewNote
from gateway.store.tenancy import tenants
from gateway.store.work import credential_health, polls, submits
from gateway.store.work.submits import Back, Doubt, Doubtful

VERB: Verb = "submit"
_CLAIM = 1_000
_ASKED = 100_000
_REMEMBERED = 1_000
# Jobs of a credential whose list is being searched already wait so long for the next round.
_BESIDE_SECONDS = 1.0


class LookupResult(NamedTuple):
    """What one round showed of the claimed jobs: upstream ids, jobs that are certainly not there.

    The others are looked up again `after` so many seconds.
    """

    found: dict[UUID, str]
    missing: Sequence[Doubtful] = ()
    trouble: Trouble | Sealed | None = None
    calls: int = 0
    asked: int = 0
    after: float = 0.0


class Reconciler:
    """Looks up for one process; it remembers the lookups that are not over."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        # By the credential of the jobs, and the one that is asked with.
        self._lookups: dict[tuple[UUID, UUID], Lookup] = {}
        self._under_way: set[tuple[UUID, UUID]] = set()

    @property
    def remembered(self) -> int:
        """How many lookups are not over."""
        return len(self._lookups)

    async def claim(self) -> int:
        """Claim doubtful jobs, start to look them up, and say how many."""
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
        asking = await retry_while_unavailable(
            deps.clock, until, lambda: _asking(deps, jobs[0].credential_id)
        )
        if asking is None:
            return  # its tenant was erased meanwhile
        seen = await retry_while_unavailable(
            deps.clock, until, lambda: self._look(asking, jobs, until - deps.policy.lease_margin)
        )
        deps.crash_point("doubt.looked")
        await retry_while_unavailable(
            deps.clock, until, lambda: _record(deps, asking, jobs, token, seen)
        )
        deps.crash_point("doubt.committed")
        if len(jobs) >= _CLAIM:
            deps.queue.wake(VERB)
        deps.observer.done(
            "lookup",
            _outcome(seen, jobs),
            seconds=deps.clock.monotonic() - started,
            credential_id=asking.credential.id,
            jobs=len(jobs),
            found=len(seen.found),
            calls=seen.calls,
        )

    async def _look(
        self, asking: UpstreamAccess, jobs: Sequence[Doubtful], until: float
    ) -> LookupResult:
        """One round; a list is not searched twice at the same time."""
        if isinstance(asking.access, Sealed):
            return LookupResult({}, trouble=asking.access)
        key = (jobs[0].credential_id, asking.credential.id)
        if key in self._under_way:
            return LookupResult({}, after=_BESIDE_SECONDS)
        self._under_way.add(key)
        try:
            lookup = self._lookups.pop(key, None)
            if lookup is None or not any(_serves(lookup, job) for job in jobs):
                lookup = await self._begin(asking.access, jobs)
            seen = await self._search(lookup, jobs, until)
        finally:
            self._under_way.discard(key)
        if lookup.markers:
            self._remember(key, lookup)
        return seen

    async def _search(self, lookup: Lookup, jobs: Sequence[Doubtful], until: float) -> LookupResult:
        """Go on with a lookup, and take from it what it shows of these jobs."""
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
        """A lookup that serves these jobs, and the others of their credential that are due."""
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
    """Whether a lookup tells if a job is there: it must have begun when this look was due."""
    return lookup.markers.get(str(job.id)) == job.lookups


def _outcome(seen: LookupResult, jobs: Sequence[Doubtful]) -> str:
    if seen.trouble is not None:
        return type(seen.trouble).__name__.lower()
    is_complete = len(seen.found) + len(seen.missing) == len(jobs)
    return "complete" if is_complete else "unfinished"


async def _asking(deps: Deps, credential_id: UUID) -> UpstreamAccess | None:
    async with deps.db.single() as tx:
        credential = await tenants.credential_by_id(tx, credential_id)
        return credential and await asking_for(tx, deps, credential)


async def _record(
    deps: Deps, asking: UpstreamAccess, jobs: Sequence[Doubtful], token: UUID, seen: LookupResult
) -> None:
    credential = asking.credential
    standing = CredentialHealth(
        credential.id,
        credential.tenant_id,
        credential.version,
        failures=0 if asking.is_substitute else jobs[0].failures,
        rejected=credential.rejected_at is not None,
    )
    settled = Settled()
    async with deps.db.begin() as tx:
        if seen.found:
            taken = [(id_, token, theirs) for id_, theirs in seen.found.items()]
            await submits.submitted(tx, taken)
            await polls.poll_soon(tx, [(jobs[0].credential_id, "")], deps.policy.poll_min)
        if notes := _notes(deps, jobs, seen):
            await lists.add_notes(tx, notes)
        if seen.missing:
            settled = await _not_found(
                deps, tx, seen.missing, token, is_substitute=asking.is_substitute
            )
        rest = 0.0
        asked = seen.calls or seen.trouble is not None
        if asking.is_substitute or (is_probe(standing, deps.policy) and not asked):
            await credential_health.unpause(tx, jobs[0].credential_id)
        if asked:
            rest = await judge_credential(tx, deps, standing, [seen.trouble])
        if unserved := _unserved(jobs, seen):
            delay = max(rest, seen.after)
            doubts = [Doubt(j.id, token, delay, j.lookups, j.strikes) for j in unserved]
            await submits.doubt(tx, doubts)
        deps.crash_point("doubt.recorded")
    announce(deps, settled)
    deps.queue.wake("poll" if seen.found else "submit", after=deps.policy.poll_min)
    if len(seen.found) < len(jobs):
        deps.queue.wake("submit", after=deps.policy.lookup_delay)


def _unserved(jobs: Sequence[Doubtful], seen: LookupResult) -> list[Doubtful]:
    """The jobs of which this round has shown nothing."""
    served = {*seen.found, *(job.id for job in seen.missing)}
    return [job for job in jobs if job.id not in served]


def _notes(deps: Deps, jobs: Sequence[Doubtful], seen: LookupResult) -> list[NewNote]:
    """What the timeline tells of a look that has come to its end."""
    cost = f"{seen.calls} call{'' if seen.calls == 1 else 's'}"
    shared = f", which served {seen.asked} jobs" if seen.asked > 1 else ""
    missing = {job.id for job in seen.missing}
    notes: list[NewNote] = []
    for job in jobs:
        if job.id in seen.found:
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
    """Look again later; after the last look submit again, or give up what cannot be submitted."""
    policy = deps.policy
    last = [job for job in jobs if job.lookups >= policy.lookups - 1]
    again = [
        Doubt(j.id, token, policy.lookup_delay, j.lookups + 1, j.strikes)
        for j in jobs
        if j.lookups < policy.lookups - 1
    ]
    if again:
        await submits.doubt(tx, again)
    hopeless = [job for job in last if is_substitute or job.strikes >= policy.strikes]
    ends = [
        ending(job.id, out_of_reach() if is_substitute else given_up(job.strikes), token)
        for job in hopeless
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
