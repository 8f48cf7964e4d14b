"""What a job is explained by: its error, what it waits for, or that nothing is to be done."""

from typing import Any

import pytest

from gateway.core.explain.explanation import Explanation, explain_deliveries, explain_job

JOB: dict[str, Any] = {"status": "STARTED", "error": None, "gateway": {}, "completedAt": None}
ERROR = {"code": "BAD_INPUT", "message": "No such file.", "origin": "caller"}
WAIT = {"code": "TURN", "message": "The job waits for its turn.", "until": None}


@pytest.mark.parametrize(
    ("fields", "cause", "who"),
    [
        ({}, "the upstream works on it", "nobody"),
        ({"error": ERROR}, "No such file. (BAD_INPUT)", "caller"),
        ({"error": {**ERROR, "code": "NEW"}}, "No such file. (NEW)", "caller"),
        ({"gateway": {"waitsFor": WAIT}}, "The job waits for its turn. (TURN)", "nobody"),
        ({"status": "SUCCEEDED"}, "it ended", "nobody"),
    ],
)
def test_a_job(fields: dict[str, Any], cause: str, who: str) -> None:
    found = explain_job(JOB | fields)
    assert (found.cause, found.who_acts) == (cause, who)
    assert found.what_to_do


def test_a_wait_names_its_end() -> None:
    wait = {**WAIT, "until": "2026-11-30T12:00:00.000Z"}
    found = explain_job(JOB | {"gateway": {"waitsFor": wait}})
    assert found.cause.endswith("turn. Until 2026-11-30T12:00:00.000Z. (TURN)")


def test_an_explanation_has_the_names_of_the_api() -> None:
    fields = Explanation("a", "b", "c", "d").fields()
    assert fields == {"state": "a", "cause": "b", "whoActs": "c", "whatToDo": "d"}


def test_webhooks_that_are_delivered_need_no_advice() -> None:
    common = {"lastError": None, "outcome": None}
    found = explain_deliveries(
        [
            {**common, "state": "delivered"},
            {**common, "state": "pending"},
            {"state": "pending", "lastError": "refused", "outcome": "connect"},
            {"state": "parked", "lastError": "refused", "outcome": "connect"},
        ]
    )
    assert [one["cause"] for one in found] == ["waits for its turn", "refused", "refused"]
    assert found[1]["whatToDo"] == "start the receiver, open its port"
    assert "endpoint enable" in str(found[2]["whatToDo"])
