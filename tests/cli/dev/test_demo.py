"""`gateway demo` runs the main job and judges itself."""

import subprocess
import sys
from typing import Any

import pytest

from gateway.cli.dev.demo import DemoFailedError, Expected, judge

JOBS = {"a": Expected("acme", None), "b": Expected("acme", "TIMEOUT")}


def _job(job_id: str, status: str, code: str | None = None) -> dict[str, Any]:
    return {"id": job_id, "status": status, "error": code and {"code": code}}


def _webhook(job_id: str, kind: str, *, reason: str | None = None) -> dict[str, Any]:
    return {
        "webhookId": f"evt-{job_id}",
        "path": "/hook/acme",
        "type": kind,
        "jobId": job_id,
        "verified": reason is None,
        "reason": reason,
    }


ENDED = [_job("a", "SUCCEEDED"), _job("b", "FAILED", "TIMEOUT")]
TOLD = [_webhook("a", "job.succeeded"), _webhook("b", "job.failed")]


def test_a_run_as_planned_passes() -> None:
    judge(JOBS, ENDED, TOLD)


@pytest.mark.parametrize(
    ("listed", "received", "says"),
    [
        (ENDED[:1], TOLD, "job b ended as"),
        ([ENDED[0], _job("b", "STARTED")], TOLD, "job b ended as"),
        ([ENDED[0], _job("b", "FAILED", "BAD_INPUT")], TOLD, "job b ended as"),
        ([_job("a", "FAILED", "TIMEOUT"), ENDED[1]], TOLD, "job a ended as"),
        (ENDED, TOLD[:1], "no verified webhook for the end of job b"),
        (ENDED, [TOLD[0], _webhook("b", "job.started")], "for the end of job b"),
        (
            ENDED,
            [*TOLD, _webhook("a", "job.succeeded", reason="too old")],
            "webhook evt-a for /hook/acme was refused: too old",
        ),
    ],
    ids=["missing", "running", "other-code", "failed", "untold", "only-started", "unverified"],
)
def test_every_deviation_fails_it(
    listed: list[dict[str, Any]], received: list[dict[str, Any]], says: str
) -> None:
    with pytest.raises(DemoFailedError, match=says):
        judge(JOBS, listed, received)


def test_the_real_thing() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "gateway", "demo"), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 60 jobs ended as planned" in done.stdout
    for said in ("BAD_INPUT", "TIMEOUT", "INTERNAL_ERROR", "QUANTUM_FLUX", "The timeline", "Usage"):
        assert said in done.stdout
