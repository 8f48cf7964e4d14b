"""Doubt: find out upstream what became of submits without a clear answer, before any repeat.

One lookup serves all doubtful jobs of a credential. A job that is not found is looked for a second
time, as the list may lag, and only then submitted again.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from gateway.core.lifecycle import given_up, out_of_reach
from gateway.flows.access import Asking, asking_for
from gateway.flows.claiming import claiming
from gateway.flows.deps import Deps
from gateway.flows.health import Standing, judge_credential
from gateway.flows.lookup import Lookup
from gateway.flows.patience import patiently
from gateway.flows.settle import Settled, announce, ending, settle
from gateway.ports import Access, Denied, Trouble, Verb
from gateway.store import history, polls, submits, tenants
from gateway.store.engine import Tx
from gateway.store.history import NewNote
from gateway.store.submits import Back, Doubt, Doubtful

VERB: Verb = "submit"

# The upstream ids that were found, by job, and what cut the lookup short.
Seen = tuple[dict[UUID, str], Trouble | None]


async def claim_doubtful(deps: Deps, room: int) -> int:
    """Claim doubtful jobs, start to look them up, and say how many."""
    token = deps.ids.uuid()
    async with claiming(deps, "doubt", token, deps.db.single()) as tx:
        jobs = await submits.claim_doubtful(
            tx,
            room,
            lease=deps.policy.lease,
            breaker=deps.policy.breaker_failures,
            token=token,
        )
    if jobs:
        deps.reached("doubt.claimed")
    groups: defaultdict[UUID, list[Doubtful]] = defaultdict(list)
    for job in jobs:
        groups[job.credential_id].append(job)
    for group in groups.values():
        deps.slots.start(VERB, _resolve(deps, group, token))
    return len(jobs)


async def _resolve(deps: Deps, jobs: Sequence[Doubtful], token: UUID) -> None:
    started = deps.clock.monotonic()
    until = started + deps.policy.lease
    asking = await patiently(deps.clock, until, lambda: _asking(deps, jobs[0].credential_id))
    if asking is None:
        return  # its tenant was erased meanwhile
    found, trouble = seen = await _look(deps, asking.access, jobs)
    deps.reached("doubt.looked")
    await patiently(deps.clock, until, lambda: _record(deps, asking, jobs, token, seen))
    deps.reached("doubt.committed")
    deps.observer.done(
        "lookup",
        "complete" if trouble is None else type(trouble).__name__.lower(),
        seconds=deps.clock.monotonic() - started,
        credential_id=asking.credential.id,
        jobs=len(jobs),
        found=len(found),
    )


async def _asking(deps: Deps, credential_id: UUID) -> Asking | None:
    async with deps.db.single() as tx:
        credential = await tenants.credential_by_id(tx, credential_id)
        return credential and await asking_for(tx, deps, credential)


async def _look(deps: Deps, access: Access | Denied, jobs: Sequence[Doubtful]) -> Seen:
    if isinstance(access, Denied):
        return {}, access
    since = min(job.sent_at for job in jobs) - timedelta(seconds=deps.policy.lookup_skew)
    markers = {str(job.id) for job in jobs}
    lookup = Lookup(deps.upstream, access, markers, since, jobs[0].now)
    trouble = await lookup.run()
    return {UUID(marker): job.upstream_id for marker, job in lookup.found.items()}, trouble


async def _record(
    deps: Deps, asking: Asking, jobs: Sequence[Doubtful], token: UUID, seen: Seen
) -> None:
    found, trouble = seen
    credential = asking.credential
    standing = Standing(
        credential.id,
        credential.tenant_id,
        credential.version,
        failures=0 if asking.lent else jobs[0].failures,
        rejected=credential.rejected_at is not None,
    )
    missing = [job for job in jobs if job.id not in found]
    settled = Settled()
    async with deps.db.begin() as tx:
        if found:
            await submits.submitted(tx, [(id_, token, theirs) for id_, theirs in found.items()])
            await polls.poll_soon(tx, [jobs[0].credential_id], deps.policy.poll_min)
        if missing and trouble is None:
            settled = await _not_found(deps, tx, missing, token, lent=asking.lent)
        if asking.lent:
            await polls.unpause(tx, jobs[0].credential_id)
        rest = await judge_credential(tx, deps, standing, [trouble])
        if missing and trouble is not None:
            doubts = [Doubt(j.id, token, rest, j.lookups, j.strikes) for j in missing]
            await submits.doubt(tx, doubts)
        deps.reached("doubt.recorded")
    announce(deps, settled)
    deps.queue.wake("poll" if found else "submit", after=deps.policy.poll_min)
    if missing:
        deps.queue.wake("submit", after=deps.policy.lookup_delay)


async def _not_found(
    deps: Deps, tx: Tx, jobs: Sequence[Doubtful], token: UUID, *, lent: bool
) -> Settled:
    """Look again later; after the last look submit again, or give up what cannot be submitted."""
    policy = deps.policy
    last = [job for job in jobs if job.lookups >= policy.lookups - 1]
    again = [
        Doubt(j.id, token, policy.lookup_delay, j.lookups + 1, j.strikes)
        for j in jobs
        if j not in last
    ]
    if again:
        await submits.doubt(tx, again)
    hopeless = [job for job in last if lent or job.strikes >= policy.strikes]
    ends = [
        ending(job.id, out_of_reach() if lent else given_up(job.strikes), token) for job in hopeless
    ]
    repeat = [job for job in last if job not in hopeless]
    if repeat:
        await _repeat(deps, tx, repeat, token)
    return await settle(tx, deps, ends)


async def _repeat(deps: Deps, tx: Tx, jobs: Sequence[Doubtful], token: UUID) -> None:
    backs = [Back(job.id, token, 0.0, counted=True, strikes=job.strikes) for job in jobs]
    await submits.back(tx, backs)
    detail = "The upstream does not have the job, so it is submitted again."
    notes = [NewNote(deps.ids.uuid(), j.tenant_id, j.id, "submit.repeated", detail) for j in jobs]
    await history.add_notes(tx, notes)
