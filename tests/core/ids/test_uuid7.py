"""Ids that begin with the time: a range of time is a range of ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from gateway.core.uuid7 import first_id, time_of

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def test_the_first_id_of_a_millisecond_is_before_every_other_id_of_it() -> None:
    fresh = uuid7()
    at = time_of(fresh)
    assert first_id(at) < fresh < first_id(at + timedelta(milliseconds=1))
    assert first_id(at).int % (1 << 80) == 0


@given(TIMES)
def test_an_id_tells_the_millisecond_of_its_time(at: datetime) -> None:
    assert time_of(first_id(at)) == at.replace(microsecond=at.microsecond // 1000 * 1000)


def test_slack_moves_the_time() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    assert first_id(at, -timedelta(minutes=1)) == first_id(datetime(2026, 1, 1, 23, 59, tzinfo=UTC))


def test_times_that_no_id_can_have_get_the_nearest_one() -> None:
    assert first_id(datetime(1960, 1, 1, tzinfo=UTC)) == UUID(int=0)
    assert first_id(datetime.max.replace(tzinfo=UTC), timedelta(days=9_000_000)).int >> 80 < 2**48


def test_an_id_of_a_time_beyond_all_calendars_has_the_last_one() -> None:
    assert time_of(UUID(int=2**128 - 1)).year == 9999
