"""The job table: a heap of due steps, and indexes that keep lists cheap.

There is no task per job. Every reader calls `advance(now)` first, which executes all due steps, each
with the time at which it was due.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, islice
from typing import Literal

from gateway.simulator.jobs.plans import JOB_ERRORS, TERMINAL, Plan, Step
from gateway.simulator.jobs.workflows import SimulatedWorkflow

KeyState = Literal["active", "revoked", "unpaid", "forbidden"]


class SimulatedApplication:
    """The application of one key with its jobs, indexed by age and by status."""

    __slots__ = ("active", "by_status", "id", "jobs", "key", "name", "order", "state", "waiting")

    def __init__(self, key: str, name: str, app_id: str) -> None:
        self.key = key
        self.name = name
        self.id = app_id
        self.state: KeyState = "active"
        self.forget_jobs()

    def forget_jobs(self) -> None:
        self.jobs: dict[int, SimulatedJob] = {}
        self.order: list[int] = []
        self.by_status: dict[str, list[int]] = {}
        self.waiting: deque[SimulatedJob] = deque()
        self.active = 0


@dataclass(slots=True, eq=False, kw_only=True)
class SimulatedJob:
    """One job; `steps` from `step` on are still to be executed."""

    seq: int
    id: str
    application: SimulatedApplication
    workflow: SimulatedWorkflow
    name: str
    batch_name: str | None
    params: bytes
    metadata: bytes
    copy_to: dict[str, str] | None
    marker: str | None
    plan: Plan
    steps: tuple[Step, ...]
    planned_error: object
    created: float
    step: int = 0
    status: str = "QUEUED"
    started: float | None = None
    completed: float | None = None
    has_slot: bool = False
    is_copied: bool = False
    deleted: bool = False
    stale_reads: int = 0
    encoded: bytes = b""
    encoded_until: float = 0.0


class JobTable:
    """All jobs of all applications."""

    def __init__(
        self,
        limit_of: Callable[[SimulatedApplication], int | None],
        lacks_input: Callable[[SimulatedJob], bool],
    ) -> None:
        self.by_id: dict[str, SimulatedJob] = {}
        self.completions: list[tuple[str, float]] = []
        self.to_copy: deque[SimulatedJob] = deque()
        self.some_lag = False
        self._limit_of = limit_of
        self._lacks_input = lacks_input
        self._due_steps: list[tuple[float, int, SimulatedJob]] = []
        self._pushed = 0

    def add(self, job: SimulatedJob) -> None:
        """Add a job; beyond the concurrency limit of its key it waits in QUEUED for a slot."""
        application = job.application
        self.by_id[job.id] = job
        application.jobs[job.seq] = job
        application.order.append(job.seq)
        application.by_status.setdefault(job.status, []).append(job.seq)
        application.waiting.append(job)
        self.some_lag |= bool(job.plan.hidden_seconds or job.plan.list_lag_seconds)
        self.fill_slots(application, job.created)

    def fill_slots(self, application: SimulatedApplication, at: float) -> None:
        """Start waiting jobs while the key has free slots."""
        limit = self._limit_of(application)
        waiting = application.waiting
        while waiting and (limit is None or application.active < limit):
            job = waiting.popleft()
            if not job.deleted:
                job.has_slot = True
                application.active += 1
                self._schedule(job, at)

    def advance(self, now: float) -> None:
        due_steps = self._due_steps
        while due_steps and due_steps[0][0] <= now:
            due, _, job = heappop(due_steps)
            if not job.deleted:
                self._take_step(job, due)

    def remove(self, job: SimulatedJob, now: float) -> None:
        application = job.application
        job.deleted = True
        del self.by_id[job.id], application.jobs[job.seq]
        _discard(application.order, job.seq)
        _discard(application.by_status[job.status], job.seq)
        self._release(job, now)

    def enter(self, job: SimulatedJob, status: str, at: float) -> None:
        """Move the job to a status, and set its start or end time at the first such move."""
        by_status = job.application.by_status
        _discard(by_status[job.status], job.seq)
        insort(by_status.setdefault(status, []), job.seq)
        job.status = status
        job.encoded_until = 0.0
        if status == "STARTED" and job.started is None:
            job.started = at
        if status in TERMINAL and job.completed is None:
            job.completed = at
            job.stale_reads = job.plan.stale_reads
            self.completions.append((job.marker or job.id, at))
            self._release(job, at)

    def finish_copy(self, job: SimulatedJob, status: str, at: float) -> None:
        if job.completed is not None:  # it was forced to end meanwhile
            return
        job.is_copied = True
        job.step += 1
        self.enter(job, status, at)
        self._schedule(job, at)

    def force(self, job: SimulatedJob, status: str, at: float) -> None:
        """Drop the planned steps and move the job to a status now."""
        job.steps, job.step = (), 0
        self.enter(job, status, at)

    def fail_input(self, job: SimulatedJob, at: float) -> None:
        job.planned_error = JOB_ERRORS["BAD_INPUT"]
        self.force(job, "FAILED", at)

    def _schedule(self, job: SimulatedJob, base: float) -> None:
        if job.step < len(job.steps):
            self._pushed += 1
            heappush(self._due_steps, (base + job.steps[job.step][0], self._pushed, job))

    def _take_step(self, job: SimulatedJob, due: float) -> None:
        if job.step >= len(job.steps):
            return
        status = job.steps[job.step][1]
        if job.copy_to and status == "SUCCEEDED" and not job.is_copied:
            self.to_copy.append(job)
            return
        missing = status == "STARTED" and job.started is None and self._lacks_input(job)
        job.step += 1
        self.enter(job, status, due)
        if missing:
            self.fail_input(job, due)
        self._schedule(job, due)

    def _release(self, job: SimulatedJob, at: float) -> None:
        if job.has_slot:
            job.has_slot = False
            job.application.active -= 1
            if job.application.waiting:
                self.fill_slots(job.application, at)


def page(
    application: SimulatedApplication,
    statuses: Iterable[str],
    span: tuple[int, int],
    *,
    newest_first: bool,
    keep: Callable[[SimulatedJob], bool] | None = None,
) -> list[SimulatedJob]:
    """Return the jobs `[start, stop)` by age; without `keep` only the rows up to `stop` are read."""
    wanted = set(statuses)
    by_status = application.by_status
    lists = [by_status.get(s, []) for s in wanted] if wanted else [application.order]
    start, stop = span
    jobs = application.jobs
    if keep is None:
        ends = (seqs[-stop:] if newest_first else seqs[:stop] for seqs in lists)
        near = sorted(chain.from_iterable(ends), reverse=newest_first)
        return [jobs[seq] for seq in near[start:stop]]
    everything = sorted(chain.from_iterable(lists), reverse=newest_first)
    kept = (jobs[seq] for seq in everything if keep(jobs[seq]))
    return list(islice(kept, start, stop))


def _discard(seqs: list[int], seq: int) -> None:
    place = bisect_left(seqs, seq)
    if place < len(seqs) and seqs[place] == seq:
        del seqs[place]
