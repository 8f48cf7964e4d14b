"""What a job waits for: the gravest reason, as a code and in words."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.core.model import JobState
from gateway.core.waits_for import Situation, Wait, WaitCode, wait_of

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=90)
SAID = "2026-11-30 12:01:30 UTC"

FREE = Situation(
    state=JobState.ACCEPTED,
    now=NOW,
    next_at=NOW - timedelta(seconds=1),
    is_leased=False,
    suspended_at=None,
    in_flight=0,
    most_in_flight=10,
    has_credential=True,
    rejected_reason=None,
    is_rejected=False,
    failures=0,
    paused_until=None,
    room=None,
    worker_seen_at=NOW,
    has_worker=True,
    last_note=None,
    place=0,
)


def waits(**changes: Any) -> Wait | None:
    return wait_of(replace(FREE, **changes), breaker=5)


@pytest.mark.parametrize(
    ("changes", "code", "words", "until", "position"),
    [
        ({}, WaitCode.TURN, "it is the next one", None, 0),
        ({"place": 1}, WaitCode.TURN, "1 job of the tenant go", None, 1),
        ({"place": 1234}, WaitCode.TURN, "1,234 jobs of the tenant", None, 1234),
        ({"place": 10_000}, WaitCode.TURN, "10,000 or more jobs", None, 10_000),
        ({"has_worker": False}, WaitCode.NO_WORKER, "since 2026-11-30 12:00:00 UTC", None, None),
        (
            {"has_worker": False, "worker_seen_at": None},
            *(WaitCode.NO_WORKER, "ever", None, None),
        ),
        ({"suspended_at": NOW}, WaitCode.TENANT_SUSPENDED, "since 2026-11-30", None, None),
        ({"has_credential": False}, WaitCode.CREDENTIAL_MISSING, "operator", None, None),
        (
            {"is_rejected": True, "rejected_reason": "HTTP 401: No.", "paused_until": SOON},
            *(WaitCode.CREDENTIAL_REJECTED, f"(HTTP 401: No). It is tried again at {SAID}.", SOON),
            None,
        ),
        (
            {"is_rejected": True, "rejected_reason": "HTTP 401", "paused_until": NOW},
            *(WaitCode.CREDENTIAL_REJECTED, "It is being tried again.", None, None),
        ),
        (
            {"failures": 5, "paused_until": SOON, "last_note": "answer 503"},
            *(WaitCode.CIRCUIT_OPEN, "5 times in a row (answer 503), so it is left alone", SOON),
            None,
        ),
        (
            {"failures": 1, "paused_until": SOON, "last_note": "429"},
            *(WaitCode.UPSTREAM_BUSY, f"busy (429). It is asked again at {SAID}.", SOON, None),
        ),
        (
            {"paused_until": SOON},
            *(WaitCode.CREDENTIAL_UNUSABLE, f"It tries again at {SAID}.", SOON, None),
        ),
        ({"next_at": SOON}, WaitCode.RETRY_LATER, f"tried again at {SAID}.", SOON, None),
        (
            {"in_flight": 10, "place": 2},
            *(WaitCode.IN_FLIGHT_CAP, "has 10 jobs at the upstream, as many as it may", None, 2),
        ),
        ({"room": 3, "place": 3}, WaitCode.UPSTREAM_BUSY, "only 3 jobs are sent", None, 3),
        ({"room": 3, "place": 2}, WaitCode.TURN, "2 jobs", None, 2),
        (
            {"state": JobState.SUBMITTING, "next_at": SOON},
            *(WaitCode.LOOKUP, f"It is looked up at {SAID}.", SOON, None),
        ),
        (
            {"state": JobState.SUBMITTING, "is_leased": True},
            *(WaitCode.LOOKUP, "It is looked up next.", None, None),
        ),
        ({"state": JobState.SUBMITTED}, WaitCode.UPSTREAM_QUEUED, "has not begun", None, None),
        (
            {"state": JobState.RUNNING, "has_worker": False},
            *(WaitCode.NO_WORKER, "nothing goes on", None, None),
        ),
    ],
)
def test_what_a_job_waits_for(
    changes: dict[str, Any],
    code: WaitCode,
    words: str,
    until: datetime | None,
    position: int | None,
) -> None:
    wait = waits(**changes)
    assert wait is not None
    assert (wait.code, wait.until, wait.position) == (code, until, position)
    assert words in wait.message
    assert wait.message.endswith(".")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": JobState.RUNNING},
        {"state": JobState.SUBMITTING, "is_leased": True, "next_at": SOON},
    ],
)
def test_a_job_that_somebody_is_at_waits_for_nothing(changes: dict[str, Any]) -> None:
    assert waits(**changes) is None


def test_a_suspension_and_a_cap_do_not_hold_what_is_at_the_upstream() -> None:
    wait = waits(state=JobState.SUBMITTED, suspended_at=NOW, in_flight=10)
    assert wait is not None
    assert wait.code is WaitCode.UPSTREAM_QUEUED


def test_a_long_reason_is_cut() -> None:
    wait = waits(is_rejected=True, rejected_reason="x" * 5_000)
    assert wait is not None
    assert len(wait.message) < 500
