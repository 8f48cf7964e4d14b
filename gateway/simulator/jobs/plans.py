"""The plan of a job, and the timed steps that are drawn from it."""

from random import Random
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

TERMINAL = frozenset({"SUCCEEDED", "FAILED"})

JOB_ERRORS: dict[str, dict[str, str]] = {
    "BAD_INPUT": {"code": "BAD_INPUT", "title": "Invalid input", "message": "File not found."},
    "TIMEOUT": {
        "code": "TIMEOUT",
        "title": "Timeout",
        "message": "The job took longer than allowed.",
    },
    "INTERNAL_ERROR": {
        "code": "INTERNAL_ERROR",
        "title": "Internal error",
        "message": "Unknown error",
    },
}

Seconds = float | tuple[float, float]
Step = tuple[float, str]


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The plan of one job; a pair of seconds is a range that the seed draws from."""

    queue_seconds: Seconds = (0.1, 0.3)
    run_seconds: Seconds = (1.0, 2.0)
    outcome: Literal["SUCCEEDED", "FAILED"] = "SUCCEEDED"
    failure_rate: float = 0.0
    skip_started: bool = False
    stuck: Literal["QUEUED", "STARTED"] | None = None
    status_sequence: tuple[Step, ...] = ()
    error: Any | UnsetType = UNSET
    error_code: str | None = None
    result: Any | UnsetType = UNSET
    result_shape: Literal["workflow", "mixed", "many", "unicode", "empty", "null"] = "workflow"
    stale_reads: int = 0
    hidden_seconds: float = 0.0
    list_lag_seconds: float = 0.0
    omit_keys: tuple[str, ...] = ()
    extra_fields: dict[str, Any] = {}


class Script(msgspec.Struct, frozen=True):
    """A drawn plan: steps `(seconds after the previous one, status)` and the error."""

    steps: tuple[Step, ...]
    error: object


def draw(plan: Plan, rng: Random) -> Script:
    """Draw the open choices of a plan; the same generator state gives the same script."""
    outcome = plan.outcome
    if plan.failure_rate and rng.random() < plan.failure_rate:
        outcome = "FAILED"
    return Script(_steps(plan, outcome, rng), _error(plan, rng))


def _steps(plan: Plan, outcome: str, rng: Random) -> tuple[Step, ...]:
    if plan.status_sequence:
        return plan.status_sequence
    if plan.stuck == "QUEUED":
        return ()
    queued = _seconds(plan.queue_seconds, rng)
    if plan.skip_started:
        return ((queued, outcome),)
    started = (queued, "STARTED")
    if plan.stuck == "STARTED":
        return (started,)
    return (started, (_seconds(plan.run_seconds, rng), outcome))


def _seconds(value: Seconds, rng: Random) -> float:
    if isinstance(value, tuple):
        return value[0] + (value[1] - value[0]) * rng.random()
    return value


def _error(plan: Plan, rng: Random) -> object:
    if plan.error is not UNSET:
        return plan.error
    code = plan.error_code
    if code is None:
        code = rng.choice(tuple(JOB_ERRORS)) if plan.failure_rate else "INTERNAL_ERROR"
    return JOB_ERRORS.get(code) or {"code": code, "title": code, "message": f"Scripted {code}."}
