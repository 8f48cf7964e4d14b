"""Keeps jobs on disk, one JSON line each, across restarts of the process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec

from gateway.simulator.jobs.catalog import Catalog
from gateway.simulator.jobs.plans import Plan, Step
from gateway.simulator.jobs.table import SimulatedApplication, SimulatedJob
from gateway.simulator.jobs.workflows import ONE_FILE, make_workflow

_SPACED = bytes.maketrans(b"\r\n", b"  ")


class JournalLine(msgspec.Struct, rename="camel", omit_defaults=True, kw_only=True):
    """Either a submitted job, or the id of a deleted one."""

    deleted: str | None = None
    id: str = ""
    key: str = ""
    workflow: str = ""
    name: str = ""
    batch_name: str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")
    metadata: msgspec.Raw = msgspec.Raw(b"null")
    copy_to: dict[str, str] | None = None
    marker: str | None = None
    plan: Plan = Plan()
    steps: tuple[Step, ...] = ()
    error: Any = None
    created: float = 0.0

    @classmethod
    def of(cls, job: SimulatedJob) -> Self:
        return cls(
            id=job.id,
            key=job.application.key,
            workflow=job.workflow.slug,
            name=job.name,
            batch_name=job.batch_name,
            params=msgspec.Raw(job.params),
            metadata=msgspec.Raw(job.metadata),
            copy_to=job.copy_to,
            marker=job.marker,
            plan=job.plan,
            steps=job.steps,
            error=job.planned_error,
            created=job.created,
        )

    def job(self, seq: int, application: SimulatedApplication, catalog: Catalog) -> SimulatedJob:
        """Restore the job; a workflow that was added by a control call loses its outputs."""
        workflow = catalog.workflow(self.workflow)
        if workflow is None:
            workflow = make_workflow(self.workflow, self.workflow, "", ONE_FILE)
            catalog.add_workflow(workflow)
        return SimulatedJob(
            seq=seq,
            id=self.id,
            application=application,
            workflow=workflow,
            name=self.name,
            batch_name=self.batch_name,
            params=bytes(self.params),
            metadata=bytes(self.metadata),
            copy_to=self.copy_to,
            marker=self.marker,
            plan=self.plan,
            steps=self.steps,
            planned_error=self.error,
            created=self.created,
        )


class Journal:
    """Appends lines to a file; each is written before the response is sent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self._file = path.open("ab", buffering=0)
        self._encode = msgspec.json.Encoder().encode

    def read(self) -> Iterator[JournalLine]:
        """Yield the lines, after removing a last line that a kill cut short."""
        decode = msgspec.json.Decoder(JournalLine).decode
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        self._file.truncate(whole)
        for text in content[:whole].splitlines():
            yield decode(text)

    def write(self, line: JournalLine) -> None:
        # Params are kept unparsed, so a line break between their tokens would end the line.
        self._file.write(self._encode(line).translate(_SPACED) + b"\n")

    def clear(self) -> None:
        self._file.truncate(0)

    def close(self) -> None:
        self._file.close()
