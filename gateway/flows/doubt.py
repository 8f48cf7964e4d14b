"""Doubt: find out upstream what became of submits without a clear answer, before any repeat.

One lookup serves all doubtful jobs of a credential. A job that is not found is looked for a second
time, as the list may lag, and only then submitted again.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from gateway.core.model import Credential
from gateway.flows.deps import Deps
from gateway.flows.health import Standing, judge_credential
from gateway.flows.lookup import Lookup
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
    async with deps.db.single() as tx:
        jobs = await submits.claim_doubtful(tx, room, lease=deps.policy.lease, token=token)
    if jobs:
        deps.reached("doubt.claimed")
    groups: defaultdict[UUID, list[Doubtful]] = defaultdict(list)
    for job in jobs:
        groups[job.credential_id].append(job)
    for group in groups.values():
        deps.slots.start(VERB, _resolve(deps, group, token))
    return len(jobs)


def open_access(deps: Deps, credential: Credential) -> Access | Denied:
    """Open a stored credential."""
    return deps.access(
        credential.tenant_id,
        credential.id,
        credential.version,
        credential.base_url,
        credential.sealed,
    )


async def _resolve(deps: Deps, jobs: Sequence[Doubtful], token: UUID) -> None:
    started = deps.clock.monotonic()
    async with deps.db.single() as tx:
        credential = await tenants.credential_by_id(tx, jobs[0].credential_id)
    if credential is None:
        return  # its tenant was erased meanwhile
    found, trouble = seen = await _look(deps, credential, jobs)
    deps.reached("doubt.looked")
    await _record(deps, credential, jobs, token, seen)
    deps.reached("doubt.committed")
    deps.observer.done(
        "lookup",
        "complete" if trouble is None else type(trouble).__name__.lower(),
        seconds=deps.clock.monotonic() - started,
        credential_id=credential.id,
        jobs=len(jobs),
        found=len(found),
    )


async def _look(deps: Deps, credential: Credential, jobs: Sequence[Doubtful]) -> Seen:
    access = open_access(deps, credential)
    if isinstance(access, Denied):
        return {}, access
    since = min(job.sent_at for job in jobs) - timedelta(seconds=deps.policy.lookup_skew)
    markers = {str(job.id) for job in jobs}
    lookup = Lookup(deps.upstream, access, markers, since, jobs[0].now)
    trouble = await lookup.run()
    return {UUID(marker): job.upstream_id for marker, job in lookup.found.items()}, trouble


async def _record(
    deps: Deps,
    credential: Credential,
    jobs: Sequence[Doubtful],
    token: UUID,
    seen: Seen,
) -> None:
    found, trouble = seen
    standing = Standing(
        credential.id,
        credential.tenant_id,
        credential.version,
        failures=1,
        rejected=credential.rejected_at is not None,
    )
    missing = [job for job in jobs if job.id not in found]
    async with deps.db.begin() as tx:
        if found:
            await submits.submitted(tx, [(id_, token, theirs) for id_, theirs in found.items()])
            await polls.poll_soon(tx, [credential.id], deps.policy.poll_min)
        if missing and trouble is None:
            await _not_found(deps, tx, missing, token)
        rest = await judge_credential(tx, deps, standing, [trouble])
        if missing and trouble is not None:
            await submits.doubt(tx, [Doubt(j.id, token, rest, j.lookups) for j in missing])
        deps.reached("doubt.recorded")
    deps.queue.wake("poll" if found else "submit", after=deps.policy.poll_min)
    if missing:
        deps.queue.wake("submit", after=deps.policy.lookup_delay)


async def _not_found(deps: Deps, tx: Tx, jobs: Sequence[Doubtful], token: UUID) -> None:
    """Look again later, or submit again what was not there at the last look."""
    last = deps.policy.lookups - 1
    again = [
        Doubt(j.id, token, deps.policy.lookup_delay, j.lookups + 1)
        for j in jobs
        if j.lookups < last
    ]
    if again:
        await submits.doubt(tx, again)
    resubmit = [job for job in jobs if job.lookups >= last]
    if resubmit:
        await submits.back(tx, [Back(job.id, token, 0.0, counted=True) for job in resubmit])
        detail = "The upstream does not have the job, so it is submitted again."
        await history.add_notes(
            tx,
            [
                NewNote(deps.ids.uuid(), j.tenant_id, j.id, "submit.repeated", detail)
                for j in resubmit
            ],
        )
