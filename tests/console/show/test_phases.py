"""The bars of a job: in order, within the axis, also where the clocks disagree."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.console.show.phases import AXIS, phases
from gateway.core.model import Attempt, Delivery, DeliveryState, Job, JobState
from tests.builders import attempt_of, job_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def job(state: JobState, **changes: Any) -> Job:
    times = {"created_at": at(0), "submitted_at": at(1), "started_at": at(2), "completed_at": at(9)}
    return job_of(state=state, **(times | changes))


def delivery(created: float) -> Delivery:
    return Delivery(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        event_id=UUID(int=3),
        event_type="job.failed",
        job_id=UUID(int=4),
        endpoint_id=None,
        url="https://hooks.example.com/",
        state=DeliveryState.PENDING,
        attempts=1,
        next_at=None,
        last_status=None,
        last_class=None,
        last_error=None,
        resent_at=None,
        created_at=at(created),
        completed_at=None,
    )


def attempt(begins: float, **changes: Any) -> Attempt:
    return replace(attempt_of(started_at=at(begins), duration_ms=500), **changes)


def test_an_ended_job_has_all_of_its_phases() -> None:
    failed = attempt(10, status=503, error_class="http_5xx")
    webhooks = [(delivery(9.5), [failed, attempt(20, status=200, error_class=None)])]
    found = phases(job(JobState.FAILED), webhooks, at(60))
    assert [(one.name, one.look, one.seconds) for one in found] == [
        ("queued", "waits", 1),
        ("upstream queue", "waits", 1),
        ("run", "bad", 7),
        ("noticed", "waits", 0.5),
        ("webhook 1", "bad", 0.5),
        ("webhook 1", "good", 0.5),
    ]
    assert found[4].note == "503 hooks.example.com"
    assert all(one.start >= 0 and one.start + one.width <= AXIS for one in found)


def test_a_job_that_waits_has_one_phase_until_now() -> None:
    open_job = job(JobState.ACCEPTED, submitted_at=None, started_at=None, completed_at=None)
    assert [(one.name, one.seconds) for one in phases(open_job, [], at(5))] == [("queued", 5)]


def test_a_job_that_runs_is_blue_until_now() -> None:
    found = phases(job(JobState.RUNNING, completed_at=None), [], at(5))
    assert [(one.look, one.seconds) for one in found][2] == ("runs", 3)


def test_a_phase_that_the_clocks_put_before_another_has_no_length() -> None:
    found = phases(job(JobState.SUCCEEDED, started_at=at(-30)), [], at(60))
    assert [one.seconds for one in found] == [1, 0, 8]
    assert all(one.start >= 0 and one.start + one.width <= AXIS for one in found)


def test_a_job_that_took_no_time_is_drawn() -> None:
    moment = at(0)
    found = phases(
        job(JobState.SUCCEEDED, submitted_at=moment, started_at=moment, completed_at=moment),
        [],
        NOW,
    )
    assert all(one.width >= 1 and one.start + one.width <= AXIS for one in found)
