"""The beacon as one process knows it."""

from uuid import UUID

from gateway.flows.beacon import Beacon

HERE, THERE = UUID(int=1), UUID(int=2)


def test_a_number_that_grows_or_stays_is_well():
    beacon = Beacon()
    assert [beacon.is_behind(HERE, count) for count in (5, 5, 6)] == [False] * 3
    assert beacon.after(HERE) == 7


def test_a_lower_number_is_behind_until_a_higher_one_is_set():
    beacon = Beacon()
    assert not beacon.is_behind(HERE, 9)
    assert beacon.is_behind(HERE, 8)
    assert beacon.is_behind(HERE, 8)
    assert not beacon.is_behind(HERE, beacon.after(HERE))
    assert beacon.is_behind(HERE, 9)


def test_databases_that_share_a_redis_are_not_taken_for_one_another():
    beacon = Beacon()
    assert not beacon.is_behind(HERE, 100)
    assert not beacon.is_behind(THERE, 1)
    assert beacon.after(UUID(int=3)) == 1


def test_what_is_known_elsewhere_is_taken_over_where_it_is_more():
    beacon = Beacon()
    beacon.recall({HERE: 7})
    assert beacon.is_behind(HERE, 6)
    beacon.recall({HERE: 3, THERE: 4})
    assert beacon.is_behind(HERE, 6)
    assert not beacon.is_behind(THERE, 4)
    beacon.recall({})
    assert beacon.after(HERE) == 8
