"""How far a replica is behind, by positions; and which server is none."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.replica.progress import (
    ReplicaProgress,
    ServerState,
    is_near_enough,
    mismatch,
)

PRIMARY = ServerState(is_standby=False, position=100, database=UUID(int=1), epoch=0, cluster=7)
REPLICA = PRIMARY._replace(is_standby=True)


def test_it_is_complete_until_the_last_sample_that_it_has_reached() -> None:
    progress = ReplicaProgress()
    for at, position in ((10.0, 100), (11.0, 200), (12.0, 300)):
        progress.note_primary(at, position)
    assert progress.since == 10.0
    found = [progress.complete_at(position) for position in (99, 100, 199, 200, 300, 999)]
    assert found == [None, 10.0, 10.0, 11.0, 12.0, 12.0]


def test_an_idle_primary_is_no_lag() -> None:
    progress = ReplicaProgress()
    for at in range(10, 500):
        progress.note_primary(float(at), 100)
    assert progress.complete_at(100) == 499.0
    assert progress.complete_at(99) is None
    assert progress.since == 499.0


def test_samples_are_kept_for_ten_minutes() -> None:
    progress = ReplicaProgress()
    for at in range(1000):
        progress.note_primary(float(at), at)
    assert progress.since == 400.0
    assert progress.complete_at(300) is None


def test_a_new_timeline_begins_without_samples() -> None:
    progress = ReplicaProgress()
    progress.note_primary(10.0, 100)
    progress.forget()
    assert (progress.since, progress.complete_at(100)) == (None, None)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=50), st.integers(0, 500))
def test_it_never_claims_what_it_has_not_replayed(steps: list[int], replayed: int) -> None:
    """A position that the primary had at a time is one that the replica had reached."""
    progress, position, had = ReplicaProgress(), 0, dict[float, int]()
    for at, step in enumerate(steps):
        position += step
        had[float(at)] = position
        progress.note_primary(float(at), position)
    complete = progress.complete_at(replayed)
    assert complete is None or had[complete] <= replayed
    later = [at for at, one in had.items() if one <= replayed]
    assert complete == max(later, default=None)


@pytest.mark.parametrize(
    ("primary", "replica", "said"),
    [
        (PRIMARY, REPLICA, ""),
        (PRIMARY, REPLICA._replace(cluster=None), ""),
        (PRIMARY, REPLICA._replace(position=99), ""),
        (PRIMARY, REPLICA._replace(position=101), "it is ahead of the primary"),
        (PRIMARY._replace(cluster=None), REPLICA, ""),
        (PRIMARY, PRIMARY, "it is no standby"),
        (PRIMARY._replace(is_standby=True), REPLICA, "is a standby itself"),
        (PRIMARY, REPLICA._replace(cluster=8), "another Postgres cluster: 8 and not 7"),
        (PRIMARY, REPLICA._replace(database=UUID(int=2)), "the database of another gateway"),
        (PRIMARY, REPLICA._replace(epoch=1), "another generation of the database"),
    ],
)
def test_who_is_no_replica(primary: ServerState, replica: ServerState, said: str) -> None:
    found = mismatch(primary, replica)
    assert (said in found) if said else not found


def test_one_that_came_late_must_come_nearer() -> None:
    assert is_near_enough(5.0, 5.0, came_late=False)
    assert not is_near_enough(5.1, 5.0, came_late=False)
    assert is_near_enough(2.5, 5.0, came_late=True)
    assert not is_near_enough(2.6, 5.0, came_late=True)
