from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.policy import Policy
from gateway.core.schedule.polling import (
    InFlight,
    Pace,
    deep_interval,
    next_poll,
    overdue_after,
    pay,
    status_delay,
    straggles_after,
    tokens,
)
from tests.core.paces import KNOWN, SECONDS, paces

POLICY = Policy()
JOBS = st.integers(1, 100_000)


@st.composite
def groups(draw: st.DrawFn) -> InFlight:
    young, middle, old = sorted((draw(SECONDS), draw(SECONDS), draw(SECONDS)))
    workflow, expected = draw(st.sampled_from("wxyz")), draw(st.sampled_from([None, middle]))
    return InFlight(workflow, young, old, expected, unstarted=draw(st.booleans()))


def running(age: float) -> InFlight:
    return InFlight("w", age, age, unstarted=False)


# --- Deliveries ---------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(groups(), max_size=4), JOBS, paces())
def test_a_poll_is_within_its_bounds(found: list[InFlight], jobs: int, pace: Pace) -> None:
    assert POLICY.poll_least <= next_poll(found, jobs, pace, POLICY) <= POLICY.poll_max
    spent = replace(pace, credit=-1e9)
    assert POLICY.poll_min <= next_poll(found, jobs, spent, POLICY) <= POLICY.poll_max


@settings(max_examples=40)
@given(st.lists(groups(), min_size=1, max_size=4), groups(), JOBS, JOBS, paces())
def test_more_jobs_never_make_polls_rarer(
    found: list[InFlight], more: InFlight, jobs: int, others: int, pace: Pace
) -> None:
    few = next_poll(found, jobs, pace, POLICY)
    assert next_poll([*found, more], jobs + others, pace, POLICY) <= few


@given(SECONDS, SECONDS)
def test_one_job_of_an_unknown_workflow_is_asked_about_ever_more_rarely(
    one: float, other: float
) -> None:
    young, old = sorted((one, other))
    waits = [next_poll([running(age)], 1, Pace(), POLICY) for age in (young, old)]
    assert waits == sorted(waits)
    assert waits[0] == min(max(0.15 * young, 0.25), 30.0)


@pytest.mark.parametrize(
    ("jobs", "spent", "wait"),
    [
        (1, 0, 0.75),
        (50, 0, 0.75),
        (100, 0, 4 / 9),
        (200, 0, 2 / 9),
        (200, 29, 2 / 9),
        (300, 44, 0.15),
        (300, 45, 0.75),
    ],
)
def test_many_of_an_unknown_workflow_are_asked_about_the_sooner_the_more_calls_they_pay_for(
    jobs: int, spent: float, wait: float
) -> None:
    pace = Pace(credit=-float(spent))
    assert next_poll([running(5.0)], jobs, pace, POLICY) == pytest.approx(wait)


def test_the_first_batch_of_an_unknown_workflow_stays_within_its_budget() -> None:
    """However long its jobs take, and but for what one job alone needs."""
    pace, age, calls, alone = Pace(), 0.25, 0, 0
    while age < 24 * 3600:
        wait = next_poll([running(age)], 300, pace, POLICY)
        alone += wait >= min(0.15 * age, POLICY.poll_max)
        calls += 1
        pace = pay(pace, POLICY, calls=1, ended=0, left=300)
        age += wait
    assert calls - alone <= POLICY.poll_budget * 300


def test_calls_are_paid_for_by_jobs_that_ended_and_promised_by_those_that_are_left() -> None:
    pace = pay(Pace(), POLICY, calls=10, ended=0, left=100)
    assert (pace.credit, tokens(pace, 100, POLICY)) == (-10.0, 5.0)
    pace = pay(pace, POLICY, calls=20, ended=0, left=100)
    assert tokens(pace, 100, POLICY) == 0.0, "what one job alone needs is no debt"
    pace = pay(pace, POLICY, calls=0, ended=60, left=40)
    assert tokens(pace, 40, POLICY) == pytest.approx(0.0)
    pace = pay(pace, POLICY, calls=1, ended=40, left=0)
    assert pace.credit == 0.0
    assert pay(Pace(), POLICY, calls=0, ended=10**6, left=0).credit == 100.0


def test_without_jobs_a_poll_is_as_far_away_as_can_be() -> None:
    assert next_poll([], 0, KNOWN, POLICY) == POLICY.poll_max


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
    assert next_poll([running(age)], 1, KNOWN, policy) == pytest.approx(wait)


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
    assert next_poll([InFlight("w", age, age)], 1, pace, POLICY) == pytest.approx(wait)


def test_the_calls_that_are_left_last_until_the_youngest_job_should_have_ended() -> None:
    pace = Pace({"w": 80.0}, {"w": 60.0}, {"w": 100.0})

    def wait(jobs: int, youngest: float, credit: float = 0.0) -> float:
        group = InFlight("w", youngest, 80.0, unstarted=False)
        return next_poll([group], jobs, replace(pace, credit=credit), POLICY)

    assert wait(1, 70.0) == 10.0, "an eighth of the usual: what one job alone needs"
    assert wait(100, 70.0) == pytest.approx(30 / 15)
    assert wait(100, 70.0, credit=-5.0) == pytest.approx(30 / 10)
    assert wait(100, 70.0, credit=-15.0) == 10.0
    assert wait(100, 0.0) == pytest.approx(100 / 15)
    assert wait(1000, 90.0) == pytest.approx(10 / 150)
    assert wait(10_000, 90.0) == 0.03
    assert wait(20, 120.0) == pytest.approx(8 / 3), "those that are late, for a tenth of the usual"


def test_many_credentials_beside_make_the_rounds_of_each_rarer() -> None:
    pace = Pace({"w": 2.0}, {"w": 2.0})
    waits = [next_poll([running(2.0)], 9000, pace, POLICY, beside=n) for n in (0, 2, 3, 9)]
    assert waits == [0.03, 0.1, pytest.approx(0.15), 0.25]


def test_one_straggler_does_not_hide_the_jobs_that_are_expected() -> None:
    groups = [InFlight("w", 0.0, 3600.0, expected=79.0, unstarted=False)]
    assert next_poll(groups, 1, KNOWN, POLICY) == 10.0
    groups = [InFlight("w", 0.0, 3600.0, unstarted=False)]
    assert next_poll(groups, 1, KNOWN, POLICY) == 30.0


def test_the_oldest_and_the_youngest_of_a_group_both_count() -> None:
    unknown = [InFlight("x", 10.0, 100.0, unstarted=False)]
    assert next_poll(unknown, 2, KNOWN, POLICY) == 1.5
    assert next_poll([InFlight("w", 0.0, 80.0, unstarted=False)], 2, KNOWN, POLICY) == 10.0


def test_when_a_job_is_late() -> None:
    assert (overdue_after("x", KNOWN), straggles_after("x", KNOWN)) == (10.0, 10.0)
    assert overdue_after("w", KNOWN) == 0.5 + 1.1 * 1.5 * 80.0, "without a longest one"
    assert straggles_after("w", KNOWN) == 240.0
    pace = Pace({"w": 5.0}, {"w": 5.0}, {"w": 5.1})
    assert overdue_after("w", pace) == pytest.approx(6.11)


@settings(max_examples=40)
@given(paces(), st.sampled_from("wxyz"))
def test_no_job_is_overdue_before_it_took_as_long_as_usual(pace: Pace, workflow: str) -> None:
    assert overdue_after(workflow, pace) > pace.typical.get(workflow, 0.0)


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
    for found in (running(age), InFlight("w", age, age)):
        assert status_delay(age, policy) < next_poll([found], 1, pace, policy)
