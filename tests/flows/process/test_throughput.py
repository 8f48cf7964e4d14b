"""Throughput: what counts as what, and that nothing is lost while Postgres is away."""

from gateway.core.histogram import bucket_of
from gateway.flows.process.throughput import Throughput


def noted(*works: tuple[str, str]) -> Throughput:
    made = Throughput()
    for work, outcome in works:
        made.note(work, outcome, 2.0, {"queue_seconds": 0.5, "upstream_seconds": None})
    return made


def test_a_replay_is_neither_accepted_nor_refused():
    made = noted(("accept", "accepted"), ("accept", "replayed"), ("accept", "QUEUE_FULL"))
    assert made.counts == {"accepted": 1, "refused": 1}


def test_every_end_but_success_is_a_failure():
    made = noted(*(("job", state) for state in ("succeeded", "failed", "cancelled", "expired")))
    assert made.counts == {"succeeded": 1, "failed": 3}
    assert made.durations == {("total", bucket_of(2.0)): 4, ("wait", bucket_of(0.5)): 4}


def test_every_attempt_but_a_delivered_one_has_failed():
    made = noted(("deliver", "delivered"), ("deliver", "retry"), ("deliver", "exhausted"))
    assert made.counts == {"delivered": 1, "undelivered": 2}
    assert made.durations == {("attempt", bucket_of(2.0)): 3}


def test_only_calls_that_were_answered_have_a_duration():
    made = Throughput()
    for outcome in ("answered", "limited", "failed", "answered"):
        made.note_call(outcome, 0.25)
    assert made.counts == {"calls_answered": 2, "calls_limited": 1, "calls_failed": 1}
    assert made.durations == {("call", bucket_of(0.25)): 2}


def test_other_work_is_not_counted():
    assert noted(("http", "200"), ("sweep", "late"), ("poll", "ok")) == Throughput()


def test_sums_that_could_not_be_written_are_added_to_the_next_ones():
    works = [("accept", "accepted"), ("job", "failed"), ("deliver", "delivered")]
    both = noted(*works)
    both.add(noted(*works))
    assert both == noted(*works, *works)
