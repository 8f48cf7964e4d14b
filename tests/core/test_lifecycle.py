import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.lifecycle import (
    Finish,
    JobFailure,
    Start,
    after_poll,
    cancelled,
    error_of,
    expired,
    given_up,
    lost,
    out_of_reach,
    unreadable,
)
from gateway.core.model import STATE_STATUS, STATUS_STATES, TERMINAL, JobState

AT = datetime(2026, 1, 2, tzinfo=UTC)
END = datetime(2026, 1, 3, tzinfo=UTC)
ERROR = error_of("BAD_INPUT", "Bad input", "No such file.")
AT_UPSTREAM = (JobState.SUBMITTED, JobState.RUNNING)


def move(
    state: JobState, status: str, *, error: JobFailure | None = None, result: str | None = None
) -> Finish | Start | None:
    return after_poll(state, status, result=result, error=error, started_at=AT, completed_at=END)


@pytest.mark.parametrize("state", AT_UPSTREAM)
def test_a_success_ends_a_job_with_its_result(state: JobState) -> None:
    for error in (None, ERROR):
        end = move(state, "SUCCEEDED", result="{}", error=error)
        assert end == Finish(JobState.SUCCEEDED, "{}", None, AT, END)


@pytest.mark.parametrize("state", AT_UPSTREAM)
def test_a_failure_ends_a_job_with_its_reason(state: JobState) -> None:
    assert move(state, "FAILED", error=ERROR, result="[]") == Finish(
        JobState.FAILED, "[]", ERROR, AT, END
    )


def test_a_failure_without_a_reason_gets_one() -> None:
    end = move(JobState.RUNNING, "FAILED")
    assert isinstance(end, Finish)
    assert end.error == JobFailure(
        "UNKNOWN", "Unknown error", "The upstream gave no reason.", "upstream", retryable=False
    )


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        (JobState.SUBMITTED, "STARTED", Start(AT)),
        (JobState.RUNNING, "STARTED", None),
        (JobState.RUNNING, "QUEUED", None),
        (JobState.SUBMITTED, "QUEUED", None),
    ],
)
def test_a_job_never_goes_backwards(state: JobState, status: str, expected: Start | None) -> None:
    assert move(state, status) == expected


@given(st.sampled_from(AT_UPSTREAM), st.text() | st.sampled_from(["succeeded", "FAILED ", "DONE"]))
def test_a_status_nobody_knows_is_never_an_end(state: JobState, status: str) -> None:
    if status not in STATUS_STATES:
        assert move(state, status, error=ERROR, result="{}") is None


@pytest.mark.parametrize(
    ("code", "origin", "retryable"),
    [
        ("BAD_INPUT", "caller", False),
        ("CANCELLED", "caller", False),
        ("DEADLINE_EXCEEDED", "caller", False),
        ("TIMEOUT", "upstream", True),
        ("INTERNAL_ERROR", "upstream", True),
        ("RATE_LIMITED", "upstream", True),
        ("UPSTREAM_LOST", "upstream", True),
        ("ANYTHING", "upstream", False),
        ("", "upstream", False),
    ],
)
def test_whose_fault_an_upstream_reason_is(code: str, origin: str, retryable: bool) -> None:
    assert error_of(code, "t", "m") == JobFailure(code, "t", "m", origin, retryable)


@pytest.mark.parametrize(
    ("end", "state", "code", "origin", "retryable"),
    [
        (expired(), JobState.EXPIRED, "DEADLINE_EXCEEDED", "gateway", True),
        (cancelled(), JobState.CANCELLED, "CANCELLED", "caller", False),
        (lost(), JobState.FAILED, "UPSTREAM_LOST", "upstream", True),
        (unreadable(), JobState.FAILED, "UPSTREAM_UNREADABLE", "upstream", True),
        (out_of_reach(), JobState.FAILED, "UPSTREAM_LOST", "upstream", True),
        (given_up(5), JobState.FAILED, "GATEWAY_FAULT", "gateway", True),
    ],
)
def test_the_ends_that_the_gateway_decides(
    end: Finish, state: JobState, code: str, origin: str, retryable: bool
) -> None:
    assert end.error is not None
    assert (end.state, end.error.code, end.error.origin) == (state, code, origin)
    assert end.error.retryable is retryable
    assert end.error.title
    assert end.error.message.endswith(".")
    assert (end.result, end.started_at, end.completed_at) == (None, None, None)


def test_a_job_that_is_given_up_says_how_often_it_was_begun() -> None:
    error = given_up(7).error
    assert error is not None
    assert "began to submit the job 7 times" in error.message


@given(st.text(), st.text(), st.text())
def test_an_error_is_read_as_it_was_written(code: str, title: str, message: str) -> None:
    text = JobFailure(code, title, message, "upstream", True).json()
    assert json.loads(text) == {
        "code": code,
        "title": title,
        "message": message,
        "origin": "upstream",
        "retryable": True,
    }


def test_text_in_an_error_stays_readable() -> None:
    assert "für" in JobFailure("X", "für", "", "caller", False).json()


def test_every_state_has_one_status() -> None:
    assert STATE_STATUS.keys() == set(JobState)
    assert sum(map(len, STATUS_STATES.values())) == len(JobState)
    assert {
        state for state in JobState if STATE_STATUS[state] in {"SUCCEEDED", "FAILED"}
    } == TERMINAL
