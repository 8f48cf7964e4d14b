"""What an upstream knows of a job, and how it may answer; the truth, and the ways to bend it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gateway.ports import (
    Absent,
    Busy,
    Denied,
    Refused,
    Trouble,
    Unknown,
    UpstreamJob,
    UpstreamProblem,
)
from tests.model.crew import DefectError

PROBLEM = UpstreamProblem("BAD_INPUT", "Invalid input", "File not found.")
DENIED = Denied(401, PROBLEM)
RESULT = '{"url":"https://results.example.com/a.wav"}'


# Seconds. A job of an unclear submit is looked for after 2 s and after 4 s.
LONGEST_LAG = 3.9

# Whether the job is taken, and what its sender hears.
SUBMITS: dict[str, tuple[bool, Any]] = {
    "taken": (True, None),
    "taken, answer lost": (True, Unknown("connection reset")),
    "taken, answer garbled": (True, Unknown("no JSON", unreadable=True)),
    "lost": (False, Unknown("timeout")),
    "busy": (False, Busy("connection refused")),
    "limited": (False, Busy("HTTP 429", retry_after=7.0, limited=True)),
    "denied": (False, DENIED),
    "refused": (False, Refused(400, PROBLEM)),
    "taken, and we break": (True, DefectError("a defect of the adapter")),
    "we break": (False, DefectError("a defect of the adapter")),
}
TROUBLES: dict[str, Absent | Trouble] = {
    "absent": Absent(),
    "unreadable": Unknown("no JSON", unreadable=True),
    "lost": Unknown("connection reset"),
    "busy": Busy("connection refused"),
    "limited": Busy("HTTP 429", retry_after=7.0, limited=True),
    "denied": DENIED,
}
# How one job is told of: as it is, as it was before, as it began, in a word that nobody knows, its
# status as it is but the rest as it began, or not at all.
READS = ("true", "stale", "first", "odd", "half", *TROUBLES)
# How a list call is answered: some jobs missing, but not to who looks for all of them.
LISTS = ("true", "stale", "missing", "unreadable", "lost", "busy")
# How lists are made: as they should be, with pages that overlap, without dates, or always the first
# page. A list that changes its ways between two pages could hide a job from who walks it.
PAGES = ("plain", "overlapping", "dateless", "same")
# Whether the job is deleted, and what is answered.
DELETES: dict[str, tuple[bool, Any]] = {
    "done": (True, None),
    "done, answer lost": (True, Unknown("connection reset")),
    "lost": (False, Unknown("timeout")),
    "denied": (False, DENIED),
}


@dataclass
class TrueJob:
    """A job as the upstream knows it."""

    upstream_id: str
    marker: str
    key: str
    created_at: datetime
    listed_at: datetime
    statuses: list[str] = field(default_factory=lambda: ["QUEUED"])
    is_gone: bool = False

    def told(self, how: str, *, is_short: bool = False) -> UpstreamJob:
        """How the job is described."""
        before = {"stale": self.statuses[-2:][0], "first": "QUEUED", "odd": "PAUSED"}
        status = before.get(how, self.statuses[-1])
        if how == "half" and not is_short:
            status = "QUEUED"
        return UpstreamJob(
            self.upstream_id,
            status,
            result=RESULT if status == "SUCCEEDED" else None,
            problem=PROBLEM if status == "FAILED" else None,
            created_at=self.created_at,
            marker=self.marker,
        )


@dataclass
class Site:
    """How one tenant is treated; each list is gone through again and again, call by call."""

    slug: str
    newest_first: bool = True
    page_size: int = 100
    pages: str = "plain"
    clock_off: float = 0.0
    list_lag: float = 0.0
    submits: Sequence[str] = ("taken",)
    reads: Sequence[str] = ("true",)
    lists: Sequence[str] = ("true",)
    deletes: Sequence[str] = ("done",)

    def heal(self, submits: Sequence[str] = ("taken",)) -> None:
        """Be as one would wish, but for what becomes of submits."""
        self.list_lag = 0.0
        self.submits = submits
        self.reads = self.lists = ("true",)
        self.deletes = ("done",)
