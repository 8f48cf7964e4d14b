"""Explain a job: where it stands, why, who has to act, and what to do. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gateway.core.explain.failure_advice import JOB_ADVICE, WAIT_ADVICE, WEBHOOK_ADVICE

_ADVICE_BY_STATE = {
    "parked": "its endpoint is disabled: repair the receiver, then `gateway endpoint enable ID`",
    "exhausted": "repair the receiver, then `gateway webhook resend ID`",
}
_UNKNOWN = "the code comes from the upstream: look it up in its documentation"
_NOBODY = "nobody"


class Explanation(NamedTuple):
    """Where a job stands, and what follows from it."""

    state: str
    cause: str
    who_acts: str
    what_to_do: str

    def fields(self) -> dict[str, str]:
        """The same by the names that people and scripts see."""
        return {
            "state": self.state,
            "cause": self.cause,
            "whoActs": self.who_acts,
            "whatToDo": self.what_to_do,
        }


def explain_job(job: Mapping[str, Any]) -> Explanation:
    """Explain a job as the API shows it."""
    status: str = job["status"]
    if job["error"]:
        error = job["error"]
        advice = JOB_ADVICE.get(error["code"], _UNKNOWN)
        return Explanation(
            f"{status} at {job['completedAt']}",
            f"{error['message']} ({error['code']})",
            error["origin"],
            advice,
        )
    waits = job["gateway"].get("waitsFor")
    if waits:
        advice = WAIT_ADVICE[waits["code"]]
        return Explanation(status, _cause(waits), advice.who, advice.what)
    if status == "SUCCEEDED":
        return Explanation(f"{status} at {job['completedAt']}", "it ended", _NOBODY, "nothing")
    return Explanation(status, "the upstream works on it", _NOBODY, "wait")


def explain_deliveries(deliveries: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """A row for each webhook of the job that has not been delivered."""
    return [
        {
            **one,
            "cause": one["lastError"] or "waits for its turn",
            "whatToDo": _ADVICE_BY_STATE.get(one["state"])
            or WEBHOOK_ADVICE.get(one["outcome"] or "", ""),
        }
        for one in deliveries
        if one["state"] != "delivered"
    ]


def _cause(waits: Mapping[str, Any]) -> str:
    until = f" Until {waits['until']}." if waits.get("until") else ""
    return f"{waits['message']}{until} ({waits['code']})"
