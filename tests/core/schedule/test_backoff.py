from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.policy import DELIVERY_DELAYS, Policy
from gateway.core.schedule.backoff import absence_delay, pause, redelivery

POLICY = Policy()
JITTER = st.floats(0, 1, exclude_max=True)


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
    assert rests == [0.5, 1, 2, 4, 8, 16, 32, 40, 40]
    assert pause(10**9, None, 0.0) == 40.0


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


JOBS = st.integers(1, 100_000)
