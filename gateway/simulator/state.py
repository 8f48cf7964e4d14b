"""The data of one simulated service, and how a submission becomes a job."""

from collections import deque
from random import Random
from typing import Any

import msgspec

from gateway.simulator.behaviour import Behaviour, Layers
from gateway.simulator.clock import SimulatedClock
from gateway.simulator.control.record import Record
from gateway.simulator.faults.script import FaultBook
from gateway.simulator.files.inputs import is_missing, own_urls
from gateway.simulator.files.signed_urls import Signer
from gateway.simulator.files.storage import Storage
from gateway.simulator.jobs.catalog import Catalog
from gateway.simulator.jobs.journal import Journal, JournalLine
from gateway.simulator.jobs.plans import Plan, draw
from gateway.simulator.jobs.table import JobTable, SimulatedApplication, SimulatedJob
from gateway.simulator.jobs.workflows import SimulatedWorkflow

NULL = msgspec.Raw(b"null")


class NewSubmission(msgspec.Struct, rename="camel"):
    """The body of POST /job; values that the service passes through stay unparsed."""

    workflow: str
    params: msgspec.Raw
    name: str | None = None
    metadata: msgspec.Raw = NULL
    copy_results_to: dict[str, str] | None = None
    batch_name: str | None = None


class _Simulated(msgspec.Struct):
    simulate: msgspec.Raw = NULL


class _Marked(msgspec.Struct, rename="camel"):
    gateway_job_id: Any = None


_read_simulated = msgspec.json.Decoder(_Simulated).decode
_read_marked = msgspec.json.Decoder(_Marked).decode


class State:
    """One simulated service; a journal keeps its jobs across restarts."""

    def __init__(self, seed: int, journal: Journal | None = None, *, files_base: str = "") -> None:
        self.seed = seed
        self.clock = SimulatedClock()
        self.signer = Signer(seed)
        self.signer.base = files_base
        self.journal = journal
        self._fresh()
        if journal is not None:
            self._replay(journal)

    def reset(self) -> None:
        """Drop all jobs, keys, faults, settings, uploads and counters, and set the clock to real time."""
        self.clock.offset = 0.0
        self.clock.thaw()
        self._fresh()
        if self.journal is not None:
            self.journal.clear()

    def vanish(self) -> None:
        """Drop all jobs and keep everything else."""
        for application in self.catalog.applications.values():
            application.forget_jobs()
        self.jobs = JobTable(self._limit_of, self._lacks_input)
        if self.journal is not None:
            self.journal.clear()

    def submit(
        self,
        application: SimulatedApplication,
        workflow: SimulatedWorkflow,
        submission: NewSubmission,
        behaviour: Behaviour,
    ) -> SimulatedJob:
        """Add a job; two equal submissions make two jobs."""
        plan = self._plan(application, workflow, submission.params, behaviour)
        script = draw(plan, self._draws)
        job = SimulatedJob(
            seq=self._next_seq(),
            id=self._new_id(),
            application=application,
            workflow=workflow,
            name=submission.name or "",
            batch_name=submission.batch_name,
            params=bytes(submission.params),
            metadata=bytes(submission.metadata),
            copy_to=submission.copy_results_to,
            marker=_marker(submission.metadata),
            plan=plan,
            steps=script.steps,
            planned_error=script.error,
            created=self.clock.now(),
        )
        self.jobs.add(job)
        self.record.note_submission(job.marker)
        if behaviour.input_check == "fetch":
            self.to_probe.append(job)
        if self.journal is not None:
            self.journal.write(JournalLine.of(job))
        return job

    def delete(self, job: SimulatedJob) -> None:
        self.jobs.remove(job, self.clock.now())
        if self.journal is not None:
            self.journal.write(JournalLine(deleted=job.id))

    def new_object_name(self) -> str:
        return f"moises/{self._new_id().replace('-', '')}"

    def _fresh(self) -> None:
        self.layers = Layers()
        self.catalog = Catalog()
        self.faults = FaultBook(self.seed)
        self.record = Record()
        self.storage = Storage()
        self.jobs = JobTable(self._limit_of, self._lacks_input)
        self.to_probe: deque[SimulatedJob] = deque()
        self._seq = 0
        self._seed_draws(0)

    def _seed_draws(self, generation: int) -> None:
        self._ids = Random(f"ids:{self.seed}:{generation}")
        self._draws = Random(f"plans:{self.seed}:{generation}")

    def _replay(self, journal: Journal) -> None:
        """Restore the jobs of earlier runs with their ids and times; new ids never repeat old ones."""
        generation = 0
        for line in journal.read():
            generation += 1
            if line.deleted is not None:
                job = self.jobs.by_id.get(line.deleted)
                if job is not None:
                    self.jobs.remove(job, self.clock.now())
                continue
            application = self.catalog.application(line.key) or self.catalog.add_key(line.key)
            self.jobs.add(line.job(self._next_seq(), application, self.catalog))
        self._seed_draws(generation)

    def _plan(
        self,
        application: SimulatedApplication,
        workflow: SimulatedWorkflow,
        params: msgspec.Raw,
        behaviour: Behaviour,
    ) -> Plan:
        if b'"simulate"' in bytes(params):
            script = bytes(_read_simulated(params).simulate)
            if script != b"null":
                return self.layers.plan(behaviour, application.key, workflow.slug, script)
        return behaviour.plan

    def _next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def _new_id(self) -> str:
        number = self._ids.getrandbits(128)
        number = number & ~(0xF << 76) | (4 << 76)
        text = f"{number & ~(3 << 62) | (2 << 62):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def _limit_of(self, application: SimulatedApplication) -> int | None:
        return self.layers.resolve(application.key).concurrency_limit

    def _lacks_input(self, job: SimulatedJob) -> bool:
        base = self.signer.base
        if base.encode() not in job.params:
            return False
        behaviour = self.layers.resolve(job.application.key, job.workflow.slug)
        if behaviour.input_check == "off":
            return False
        now = self.clock.now()
        return any(
            is_missing(url, self.storage, self.signer, now) for url in own_urls(job.params, base)
        )


def _marker(metadata: msgspec.Raw) -> str | None:
    if b"gatewayJobId" not in bytes(metadata):
        return None
    marker = _read_marked(metadata).gateway_job_id
    return None if marker is None else str(marker)
