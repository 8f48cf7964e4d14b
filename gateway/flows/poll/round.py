"""One polling round: ask the upstream about the jobs of one credential, and write what is learned.

It runs while the poller holds the lease of the credential. With few jobs it checks each by itself.
With several it reads the list of ended jobs, then looks for overdue ones (`listing`, `overdue`).
How many calls it may make is a budget (core/schedule/polling.py). After rounds that never ended it checks
jobs in isolation. A round stops after a third of its lease.
A crash leaves what was recorded so far, and the lease: another process polls once it has lapsed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.schedule.polling import InFlight, Pace
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.poll.access import choose_access, health_of
from gateway.flows.poll.isolate import check_isolated
from gateway.flows.poll.job_list import JobList, may_list
from gateway.flows.poll.listing import list_ends, list_starts
from gateway.flows.poll.memory import PollMemory
from gateway.flows.poll.overdue import settle_overdue
from gateway.flows.poll.state import RoundState
from gateway.flows.poll.status_check import WALK_LIMIT, check_jobs, jobs_to_check
from gateway.flows.upstream.circuit_breaker import CredentialHealth, is_probe
from gateway.ports import Access, Sealed, Trouble
from gateway.store.work.polls import ToPoll

_MAX_CHECKS = 50


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What a round did and learned.

    `health` is of the credential that it asked with, which is a substitute if the jobs' own was
    rejected. `groups` and `jobs` are what was at the upstream. `durations` are (workflow, seconds)
    of the jobs that ended. `is_safe` is whether the next round may use the list again.
    `was_cut_short` is set if the database could not be reached: the next round reads the same facts
    again.
    """

    health: CredentialHealth
    is_substitute: bool
    groups: Sequence[InFlight]
    jobs: int
    calls: int
    troubles: Sequence[Trouble | Sealed]
    durations: Sequence[tuple[str, float]]
    list_order: str
    is_safe: bool
    was_cut_short: bool


async def run_round(deps: Deps, credential: ToPoll, pace: Pace, memory: PollMemory) -> RoundResult:
    """Ask what is worth asking now, and write down what is learned.

    Does not raise if the upstream or the database cannot be reached: the result tells.
    """
    began_at = deps.clock.monotonic()
    state = RoundState(
        deps,
        credential,
        pace,
        memory,
        began_at,
        until=began_at + deps.policy.lease / 3,
        list_order=credential.list_order,
        health=health_of(credential),
        is_safe=credential.strikes < deps.policy.suspicious,
    )
    was_cut_short = False
    try:
        await _ask(state)
    except Unavailable:
        was_cut_short = True
    return RoundResult(
        health=state.health,
        is_substitute=state.is_substitute,
        groups=tuple(state.groups),
        jobs=state.jobs,
        calls=state.calls,
        troubles=tuple(state.troubles),
        durations=tuple(state.durations),
        list_order=state.list_order,
        is_safe=state.is_safe,
        was_cut_short=was_cut_short,
    )


async def _ask(state: RoundState) -> None:
    """Choose the credential, and ask about the jobs in flight if there are any."""
    chosen = await choose_access(state.deps, state.credential)
    state.health, state.is_substitute = chosen.health, chosen.is_substitute
    await state.count_in_flight()
    if isinstance(chosen.access, Sealed):
        state.troubles.append(chosen.access)
    elif state.groups:
        await _poll(state, chosen.access)
    if state.has_started_jobs:
        await state.count_in_flight()


async def _poll(state: RoundState, access: Access) -> None:
    """Poll in isolation, with one probe, job by job, or by list."""
    is_single = is_probe(state.health, state.deps.policy)
    if not state.is_safe:
        jobs = await jobs_to_check(state, 1 if is_single else WALK_LIMIT)
        state.is_safe = await check_isolated(state, access, jobs) and not is_single
    elif is_single:
        await check_jobs(state, access, await jobs_to_check(state, 1))
    elif state.flight.few < state.deps.policy.list_from or not may_list(state):
        await check_jobs(state, access, await jobs_to_check(state, _MAX_CHECKS))
    else:
        await _poll_by_list(state, access)


async def _poll_by_list(state: RoundState, access: Access) -> None:
    jobs = JobList(state, access)
    listed_at = state.deps.clock.monotonic()
    await list_ends(state, jobs)
    await list_starts(state, jobs)
    await settle_overdue(state, access, jobs, listed_at)
