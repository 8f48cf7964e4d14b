"""How far an upstream's clock is ahead, from jobs that both sides have dated."""

from datetime import timedelta

from gateway.core.clock_offset import Offset, offset_of

SECOND = timedelta(seconds=1)


def of(*spans: tuple[float, float], lateness: float = 0.0) -> Offset:
    return offset_of(
        [(least * SECOND, most * SECOND) for least, most in spans],
        skew=60 * SECOND,
        lateness=lateness * SECOND,
    )


def test_jobs_that_agree_bound_the_offset_on_both_sides():
    spans = [(-1.0, 2.0), *[(-3.0, 1.0)] * 9]
    assert of(*spans) == Offset(-6 * SECOND, 6 * SECOND)


def test_a_clock_that_is_wrong_is_found_out():
    assert of(*[(299.0, 301.0)] * 10) == Offset(294 * SECOND, 306 * SECOND)
    assert of(*[(-301.0, -299.0)] * 10) == Offset(-306 * SECOND, -294 * SECOND)


def test_several_clocks_make_the_offset_lie_between_them():
    assert of(*[(9.0, 10.0)] * 5, *[(-10.0, -9.0)] * 5) == Offset(-14 * SECOND, 14 * SECOND)


def test_a_job_that_was_recorded_late_says_little_and_spoils_nothing():
    assert of((-500.0, 0.5), *[(-0.5, 0.5)] * 9) == Offset(-5.5 * SECOND, 5.5 * SECOND)


def test_too_few_jobs_leave_it_within_the_skew_or_ahead():
    offset = of(*[(-1.0, 1.0)] * 9, lateness=30.0)
    assert offset.least == -90 * SECOND
    assert offset.most > timedelta(days=365)
