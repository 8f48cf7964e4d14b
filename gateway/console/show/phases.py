"""Phases of a job: how long it waited and ran, as bars on one axis of time. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.core.model import TERMINAL, Attempt, Delivery, Job

# The axis is so many units wide; a bar is wide enough to be seen.
AXIS = 1000
_LEAST = 4


class Phase(NamedTuple):
    """One bar: from `start`, `width` units; `note` says more than the seconds."""

    name: str
    look: str
    start: int
    width: int
    seconds: float
    note: str = ""


class _Part(NamedTuple):
    name: str
    look: str
    begins: datetime
    ends: datetime
    note: str = ""


def phases(
    job: Job, webhooks: Sequence[tuple[Delivery, Sequence[Attempt]]], now: datetime
) -> list[Phase]:
    """The phases of a job in order; an open one lasts until now."""
    parts = [*_of_job(job, now), *_of_webhooks(job, webhooks)]
    begins = min(part.begins for part in parts)
    whole = max((max(part.ends for part in parts) - begins).total_seconds(), 0.001)
    return [_bar(part, begins, whole) for part in parts]


def _bar(part: _Part, begins: datetime, whole: float) -> Phase:
    seconds = max((part.ends - part.begins).total_seconds(), 0.0)
    start = round(AXIS * (part.begins - begins).total_seconds() / whole)
    width = max(round(AXIS * seconds / whole), _LEAST)
    start = min(start, AXIS - _LEAST)
    return Phase(part.name, part.look, start, min(width, AXIS - start), seconds, part.note)


def _of_job(job: Job, now: datetime) -> Iterator[_Part]:
    """The times of the upstream may be before ours: no bar begins before the one in front."""
    end = job.completed_at or now
    marks = [
        ("queued", "waits", job.created_at, job.submitted_at),
        ("upstream queue", "waits", job.submitted_at, job.started_at),
        ("run", _look(job), job.started_at, job.completed_at),
    ]
    latest = job.created_at
    for name, look, begins, ends in marks:
        if begins is None:
            return
        begins, ends = max(begins, latest), max(ends or end, begins, latest)  # noqa: PLW2901
        yield _Part(name, look, begins, ends)
        latest = ends


def _look(job: Job) -> str:
    if job.state not in TERMINAL:
        return "runs"
    return "good" if job.state.value == "succeeded" else "bad"


def _of_webhooks(
    job: Job, webhooks: Sequence[tuple[Delivery, Sequence[Attempt]]]
) -> Iterator[_Part]:
    ended = job.completed_at
    made = [one.created_at for one, _ in webhooks if ended and one.created_at >= ended]
    if ended and made:
        yield _Part("noticed", "waits", ended, min(made))
    for delivery, attempts in webhooks:
        for attempt in attempts:
            yield _of_attempt(delivery, attempt)


def _of_attempt(delivery: Delivery, attempt: Attempt) -> _Part:
    good = attempt.error_class is None
    seconds = attempt.duration_ms / 1000
    ends = datetime.fromtimestamp(
        attempt.started_at.timestamp() + seconds, attempt.started_at.tzinfo
    )
    answer = str(attempt.status) if attempt.status else attempt.error_class or ""
    name = f"webhook {attempt.number}"
    return _Part(
        name,
        "good" if good else "bad",
        attempt.started_at,
        ends,
        f"{answer} {urlsplit(delivery.url).netloc}",
    )
