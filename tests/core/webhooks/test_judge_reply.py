from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.policy import DELIVERY_DELAYS, Policy
from gateway.core.webhooks.judge_reply import (
    DISABLE_AFTER_ATTEMPTS,
    DISABLE_AFTER_SECONDS,
    Delivered,
    Exhausted,
    Gone,
    Judgement,
    Retry,
    callback_lane,
    error_class,
    failing_percent,
    judge,
)
from gateway.core.webhooks.signed_request import FaultKind, Reply, SendFault

POLICY = Policy(delivery_delays=(5.0, 300.0), slow_down=60.0, retry_after_max=1000.0)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TENANT = UUID(int=1)
FAULTS: tuple[FaultKind, ...] = ("dns", "connect", "tls", "timeout", "blocked", "body", "egress")


def answered(status: int | None) -> Reply | SendFault:
    """A reply, or None for no reply at all."""
    return SendFault("timeout", "", 15.0) if status is None else Reply(status, (), b"", 0.1)


@pytest.mark.parametrize(
    ("status", "attempts", "wish", "judgement"),
    [
        (200, 1, None, Delivered()),
        (299, 3, None, Delivered()),
        (204, 99, 500.0, Delivered()),
        (410, 1, None, Gone()),
        (410, 3, 500.0, Gone()),
        (199, 1, None, Retry(5.0)),
        (300, 1, None, Retry(5.0)),
        (301, 2, None, Retry(300.0)),
        (400, 1, None, Retry(5.0)),
        (500, 1, None, Retry(5.0)),
        (None, 1, None, Retry(5.0)),
        (None, 2, None, Retry(300.0)),
        (None, 3, None, Exhausted()),
        (500, 3, 500.0, Exhausted()),
        (503, 3, 500.0, Exhausted()),
        # Who is not overloaded may not ask for a later time.
        (500, 1, 500.0, Retry(5.0)),
        (None, 1, 500.0, Retry(5.0)),
        # Who is overloaded rests, and all of its deliveries with it.
        (429, 1, None, Retry(60.0, 60.0)),
        (502, 1, None, Retry(60.0, 60.0)),
        (503, 1, None, Retry(60.0, 60.0)),
        (504, 1, None, Retry(60.0, 60.0)),
        (503, 2, None, Retry(300.0, 60.0)),
        # Zero is a wish as well: no rest beyond the schedule.
        (503, 1, 0.0, Retry(5.0, 0.0)),
        (429, 2, 0.0, Retry(300.0, 0.0)),
        (503, 1, 30.0, Retry(30.0, 30.0)),
        (503, 1, 2.0, Retry(5.0, 2.0)),
        (503, 2, 30.0, Retry(300.0, 30.0)),
        (429, 1, 5000.0, Retry(1000.0, 1000.0)),
    ],
)
def test_what_an_answer_means(
    status: int | None, attempts: int, wish: float | None, judgement: Judgement
) -> None:
    answer = answered(status)
    assert judge(answer, attempts, POLICY, retry_after=wish, jitter=0.0) == judgement


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_tried_again(kind: FaultKind) -> None:
    assert judge(SendFault(kind, "", 0.1), 1, POLICY) == Retry(5.0)
    assert judge(SendFault(kind, "", 0.1), 3, POLICY) == Exhausted()


def test_the_first_attempt_and_nine_more() -> None:
    ends = [judge(answered(500), n, Policy()) for n in range(1, 11)]
    assert ends == [*map(Retry, DELIVERY_DELAYS), Exhausted()]


def test_an_endpoint_has_a_schedule_of_its_own() -> None:
    ends = [judge(answered(500), n, POLICY, delays=[1, 2, 3]) for n in range(1, 5)]
    assert ends == [Retry(1.0), Retry(2.0), Retry(3.0), Exhausted()]
    assert judge(answered(503), 1, POLICY, delays=[1]) == Retry(60.0, 60.0)
    assert judge(answered(500), 1, POLICY, delays=[]) == Exhausted()
    assert judge(answered(200), 9, POLICY, delays=[]) == Delivered()


@pytest.mark.parametrize(
    ("days", "attempts", "percent"),
    [
        (0.0, 0, 0),
        (5.0, 20, 100),
        (50.0, 200, 100),
        (5.0, 19, 95),
        (4.99, 500, 99),
        (5.0, 10, 50),
        (2.5, 20, 50),
        (3.5, 14, 70),
        (0.0, 10_000, 0),
        (400.0, 1, 5),
    ],
)
def test_only_long_and_often_together_count_as_failing(
    days: float, attempts: int, percent: int
) -> None:
    assert failing_percent(days * 86_400, attempts) == percent


@given(st.floats(0, 1e9), st.integers(0, 10**6))
def test_nobody_is_disabled_before_five_days_and_twenty_attempts(
    seconds: float, attempts: int
) -> None:
    is_due = seconds >= DISABLE_AFTER_SECONDS and attempts >= DISABLE_AFTER_ATTEMPTS
    assert (failing_percent(seconds, attempts) == 100) is is_due


@given(
    st.none() | st.integers(100, 599),
    st.integers(1, 12),
    st.none() | st.floats(0, 1e9),
    st.floats(0, 1, exclude_max=True),
)
def test_a_retry_is_never_before_its_schedule_nor_before_the_rest(
    status: int | None, attempts: int, wish: float | None, jitter: float
) -> None:
    policy = Policy()
    move = judge(answered(status), attempts, policy, retry_after=wish, jitter=jitter)
    if isinstance(move, Retry):
        assert policy.delivery_delays[attempts - 1] <= move.after
        assert move.slow <= move.after < DELIVERY_DELAYS[-1] * 1.1 + 1
        assert (move.slow > 0) == (status in {429, 502, 503, 504} and wish != 0)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (100, "http_1xx"),
        (199, "http_1xx"),
        (200, None),
        (299, None),
        (300, "http_3xx"),
        (404, "http_4xx"),
        (599, "http_5xx"),
    ],
)
def test_the_class_of_a_status(status: int, name: str | None) -> None:
    assert error_class(status) == name


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("https://a.example/other?q=1", True),
        ("https://a.example", True),
        ("http://a.example/x", False),
        ("https://a.example:8443/x", False),
        ("https://b.example/x", False),
    ],
)
def test_callbacks_to_one_origin_share_a_lane(url: str, same: bool) -> None:
    assert (callback_lane(TENANT, url) == callback_lane(TENANT, "https://a.example/x")) is same


def test_tenants_share_no_lane() -> None:
    url = "https://a.example/x"
    assert callback_lane(TENANT, url) != callback_lane(UUID(int=2), url)
