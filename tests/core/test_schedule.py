from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.schedule import (
    DELIVERY_DELAYS,
    InFlight,
    Pace,
    Policy,
    absence_delay,
    deep_interval,
    is_overdue,
    is_straggler,
    next_poll,
    pause,
    redelivery,
    status_delay,
)
from tests.core.paces import KNOWN, SECONDS, paces

POLICY = Policy()
JITTER = st.floats(0, 1, exclude_max=True)


@st.composite
def groups(draw: st.DrawFn) -> InFlight:
    young, old = sorted((draw(SECONDS), draw(SECONDS)))
    workflow, jobs = draw(st.sampled_from("wxyz")), draw(st.integers(1, 1000))
    return InFlight(workflow, jobs, young, old, unstarted=draw(st.booleans()))


def running(age: float, jobs: int = 1) -> InFlight:
    return InFlight("w", jobs, age, age, unstarted=False)


# --- Deliveries ---------------------------------------------------------------------------------


def test_a_delivery_is_tried_ten_times_over_three_days() -> None:
    delays = [redelivery(n, POLICY, retry_after=None, jitter=0.0) for n in range(1, 12)]
    assert delays == [*DELIVERY_DELAYS, None, None]
    assert sum(DELIVERY_DELAYS) == 305 + 30 * 60 + 75 * 3600
    assert sorted(DELIVERY_DELAYS) == list(DELIVERY_DELAYS)


@given(st.integers(1, 9), JITTER)
def test_jitter_is_only_added_and_at_most_a_tenth(attempts: int, jitter: float) -> None:
    delay = redelivery(attempts, POLICY, retry_after=None, jitter=jitter)
    assert delay == pytest.approx(DELIVERY_DELAYS[attempts - 1] * (1 + jitter / 10))


@given(st.integers(1, 9), JITTER, st.floats(0, 1e9))
def test_retry_after_only_pushes_later_and_within_its_bound(
    attempts: int, jitter: float, wish: float
) -> None:
    without = redelivery(attempts, POLICY, retry_after=None, jitter=jitter)
    delay = redelivery(attempts, POLICY, retry_after=wish, jitter=jitter)
    assert without is not None
    assert delay == max(without, min(wish, 36_000.0))


def test_the_schedule_can_be_another() -> None:
    policy = replace(POLICY, delivery_delays=(1.0,))
    assert redelivery(1, policy, retry_after=None, jitter=0.0) == 1.0
    assert redelivery(2, policy, retry_after=None, jitter=0.0) is None
    nothing = replace(POLICY, delivery_delays=())
    assert redelivery(1, nothing, retry_after=60.0, jitter=0.0) is None


@given(st.lists(st.integers(0, 10**6), max_size=20), st.integers(1, 30), JITTER)
def test_the_schedule_of_an_endpoint_takes_the_place_of_the_gateways(
    delays: list[int], attempts: int, jitter: float
) -> None:
    delay = redelivery(attempts, POLICY, delays=delays, retry_after=None, jitter=jitter)
    if attempts > len(delays):
        assert delay is None
    else:
        assert delay == pytest.approx(delays[attempts - 1] * (1 + jitter / 10))


# --- The rest of a credential -------------------------------------------------------------------


def test_a_credential_rests_longer_with_every_failure() -> None:
    rests = [pause(n, None, 0.0) for n in range(9)]
    assert rests == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert pause(10**9, None, 0.0) == 60.0


@given(st.integers(0, 20), JITTER)
def test_a_rest_is_only_lengthened_by_jitter(failures: int, jitter: float) -> None:
    assert pause(failures, None, jitter) == pytest.approx(
        pause(failures, None, 0) * (1 + jitter / 5)
    )


@pytest.mark.parametrize(
    ("wish", "rest"),
    [(0.0, 0.1), (-5.0, 0.1), (0.2, 0.2), (30.0, 30.0), (600.0, 600.0), (1e9, 600.0)],
)
def test_the_word_of_the_upstream_goes_before_our_own(wish: float, rest: float) -> None:
    assert pause(7, wish, 0.9) == pause(0, wish, 0.0) == rest


def test_a_job_that_cannot_be_had_is_asked_about_as_often_as_there_are_delays() -> None:
    policy = replace(POLICY, absence_delays=(1.0, 2.0))
    assert [absence_delay(seen, policy) for seen in (1, 2, 3, 4)] == [1.0, 2.0, None, None]
    assert absence_delay(len(POLICY.absence_delays), POLICY) == 60.0
    assert absence_delay(len(POLICY.absence_delays) + 1, POLICY) is None


# --- Polls --------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(groups(), max_size=4), paces())
def test_a_poll_is_within_its_bounds(found: list[InFlight], pace: Pace) -> None:
    assert POLICY.poll_min <= next_poll(found, pace, POLICY) <= POLICY.poll_max


@settings(max_examples=40)
@given(st.lists(groups(), min_size=1, max_size=4), groups(), paces())
def test_more_jobs_never_make_polls_rarer(
    found: list[InFlight], more: InFlight, pace: Pace
) -> None:
    assert next_poll([*found, more], pace, POLICY) <= next_poll(found, pace, POLICY)


@given(SECONDS, SECONDS)
def test_jobs_of_an_unknown_workflow_are_asked_about_ever_more_rarely(
    one: float, other: float
) -> None:
    young, old = sorted((one, other))
    waits = [next_poll([running(age)], Pace(), POLICY) for age in (young, old)]
    assert waits == sorted(waits)
    assert waits[0] == min(max(0.15 * young, 0.25), 30.0)


def test_without_jobs_a_poll_is_as_far_away_as_can_be() -> None:
    assert next_poll([], KNOWN, POLICY) == POLICY.poll_max


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (0.0, 54.0),  # nine tenths of the shortest: it cannot be done before
        (40.0, 14.0),
        (50.0, 10.0),  # an eighth of the usual
        (80.0, 10.0),
        (160.0, 20.0),  # an eighth of its age
    ],
)
def test_a_job_of_a_known_workflow_is_asked_about_when_it_may_be_done(
    age: float, wait: float
) -> None:
    policy = replace(POLICY, poll_max=1000.0)
    assert next_poll([running(age)], KNOWN, policy) == pytest.approx(wait)


@pytest.mark.parametrize(
    ("pace", "age", "wait"),
    [
        (KNOWN, 0.0, 80 / 12),
        (KNOWN, 40.0, 80 / 12),
        (KNOWN, 44.0, 80 / 12),
        (KNOWN, 50.0, 7.5),  # the longer it waits, the more rarely
        (Pace({"w": 12.0}, {"w": 12.0}), 0.0, 5.0),
        (Pace({"w": 5.0}, {"w": 5.0}), 0.0, 4.5),  # too short to ask for starts
        (Pace(), 20.0, 3.0),
    ],
)
def test_the_start_of_jobs_that_run_for_long_is_asked_for(
    pace: Pace, age: float, wait: float
) -> None:
    assert next_poll([InFlight("w", 1, age, age)], pace, POLICY) == pytest.approx(wait)


def test_one_call_that_serves_many_may_be_made_more_often() -> None:
    one = next_poll([running(80.0, jobs=100)], KNOWN, POLICY)
    many = next_poll([running(80.0, jobs=1000)], KNOWN, POLICY)
    assert (one, many) == (10.0, 1.0)


def test_the_oldest_and_the_youngest_of_a_group_both_count() -> None:
    unknown = [InFlight("x", 2, 10.0, 100.0, unstarted=False)]
    assert next_poll(unknown, KNOWN, POLICY) == 1.5
    assert next_poll([InFlight("w", 2, 0.0, 80.0, unstarted=False)], KNOWN, POLICY) == 10.0


@pytest.mark.parametrize(
    ("workflow", "age", "overdue", "straggler"),
    [
        ("x", 1.0, False, False),
        ("x", 1.1, True, False),
        ("x", 10.0, True, False),
        ("x", 10.1, True, True),
        ("w", 121.0, False, False),
        ("w", 121.1, True, False),
        ("w", 240.0, True, False),
        ("w", 240.1, True, True),
    ],
)
def test_when_a_job_is_late(workflow: str, age: float, overdue: bool, straggler: bool) -> None:
    assert is_overdue(workflow, age, KNOWN) is overdue
    assert is_straggler(workflow, age, KNOWN) is straggler


@settings(max_examples=40)
@given(paces(), SECONDS, st.sampled_from("wxyz"))
def test_a_straggler_is_overdue(pace: Pace, age: float, workflow: str) -> None:
    assert is_overdue(workflow, age, pace) or not is_straggler(workflow, age, pace)


def test_how_often_a_list_is_walked_to_its_end() -> None:
    assert deep_interval(Pace()) == deep_interval(KNOWN) * 5.0 / (80.0 / 12.0) == 5.0
    assert deep_interval(Pace({"a": 12.0, "b": 1200.0}, {})) == 100.0


@given(SECONDS)
def test_a_status_call_is_repeated_more_rarely_with_age(age: float) -> None:
    delay = status_delay(age, POLICY)
    assert delay == min(max(0.12 * age, 0.125), 60.0)


@given(SECONDS, st.sampled_from([Pace(), KNOWN]))
def test_a_job_is_due_again_by_the_next_round_for_it(age: float, pace: Pace) -> None:
    policy = replace(POLICY, poll_max=1e9)
    for found in (running(age), InFlight("w", 1, age, age)):
        assert status_delay(age, policy) < next_poll([found], pace, policy)
