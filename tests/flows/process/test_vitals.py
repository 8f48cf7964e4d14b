"""Vitals: what a process did lately."""

from gateway.flows.process.vitals import Vitals


def test_a_call_of_the_upstream_is_counted_by_its_outcome():
    vitals = Vitals()
    vitals.note_call("answered", 0.2)
    vitals.note_call("failed", 0.1)
    assert vitals.throughput.counts == {"calls_answered": 1, "calls_failed": 1}
