"""Learning how long jobs take."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.schedule.polling import MAX_WORKFLOWS, Pace, learn
from tests.core.paces import KNOWN, SECONDS, paces


def test_the_first_job_of_a_workflow_is_believed() -> None:
    assert learn(Pace(), [("w", 40.0)]) == Pace({"w": 40.0}, {"w": 40.0}, {"w": 40.0})


def test_later_jobs_move_the_average_by_a_tenth() -> None:
    assert learn(KNOWN, [("w", 180.0)]).typical == {"w": 90.0}
    assert learn(KNOWN, [("w", 180.0), ("w", 90.0)]).typical == {"w": 90.0}


def test_the_shortest_falls_at_once_and_rises_slowly() -> None:
    assert learn(KNOWN, [("w", 10.0)]).shortest == {"w": 10.0}
    assert learn(KNOWN, [("w", 80.0)]).shortest == {"w": 62.0}


def test_the_longest_rises_at_once_and_falls_slowly() -> None:
    pace = learn(KNOWN, [("w", 180.0)])
    assert pace.longest == {"w": 180.0}
    assert learn(pace, [("w", 90.0)]).longest == {"w": 171.0}


def test_what_was_paid_for_is_kept() -> None:
    known = replace(KNOWN, credit=-3.0)
    assert learn(known, [("w", 1.0)]).credit == -3.0
    assert learn(known, [("new", 1.0)]).credit == 0.0, "to learn of it is nobody's debt"
    assert learn(replace(KNOWN, credit=5.0), [("new", 1.0)]).credit == 5.0


@settings(max_examples=40)
@given(paces(), st.lists(st.tuples(st.sampled_from("wxyz"), SECONDS)))
def test_what_is_learned_stays_between_what_was_seen(
    pace: Pace, seen: list[tuple[str, float]]
) -> None:
    learned = learn(pace, seen)
    assert (
        learned.typical.keys()
        == learned.shortest.keys()
        == pace.typical.keys() | {w for w, _ in seen}
    )
    for name, typical in learned.typical.items():
        values = [s for w, s in seen if w == name]
        known = [pace.typical[name], pace.shortest[name]] if name in pace.typical else []
        low, high = min(values + known), max(values + known)
        assert (
            low * (1 - 1e-9) <= learned.shortest[name] <= typical * (1 + 1e-9) <= high * (1 + 2e-9)
        )


@settings(max_examples=40)
@given(paces(), st.lists(st.tuples(st.sampled_from("wxyz"), SECONDS), min_size=1))
def test_learning_leaves_the_old_knowledge_as_it_was(
    pace: Pace, seen: list[tuple[str, float]]
) -> None:
    before = Pace(dict(pace.typical), dict(pace.shortest))
    learn(pace, seen)
    assert pace == before


def test_of_too_many_workflows_those_not_seen_for_longest_are_forgotten() -> None:
    pace = learn(Pace(), [(f"w{n}", 1.0) for n in range(MAX_WORKFLOWS)])
    pace = learn(pace, [("w0", 1.0), ("new", 1.0), ("newer", 1.0)])
    assert len(pace.typical) == len(pace.shortest) == MAX_WORKFLOWS
    assert {"w0", "new", "newer"} <= pace.typical.keys() == pace.shortest.keys()
    assert not {"w1", "w2"} & pace.typical.keys()
