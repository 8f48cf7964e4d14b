"""A job as people read it: what it is, why it failed and what to do, what went in and out, its webhooks."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.api.client import Api
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import head, leaves, print_fields, print_json, print_table
from gateway.cli.terminal.table import Column
from gateway.cli.webhooks.delivery_story import ATTEMPTS
from gateway.core.failure_advice import JOB_ADVICE

_PAYLOADS = {"workflowParams": "Input", "result": "Result", "metadata": "Metadata"}
_DELIVERIES = (
    Column("id"),
    Column("type", rank=3),
    Column("state", rank=1),
    Column("attemptCount", rank=5, title="ATTEMPTS"),
    Column("outcome", rank=2),
    Column("lastStatus", rank=6),
    Column("nextAttemptAt", rank=7),
    Column("url", least=15, rank=4),
)
_MOST_DELIVERIES = 20


def show_job(api: Api, job: Mapping[str, Any]) -> None:
    """Print all of a job, in the order in which it is asked for."""
    told = {name: value for name, value in job.items() if name not in (*_PAYLOADS, "error")}
    gateway: Mapping[str, Any] = told.pop("gateway", {})
    print_fields([*told.items(), *leaves(gateway)])
    if job["error"]:
        _show_error(job["error"])
    for name, heading in _PAYLOADS.items():
        if job[name]:
            head(heading)
            print_json(job[name], indent=2)
    _show_webhooks(api, str(job["id"]))


def _show_error(error: Mapping[str, Any]) -> None:
    head("Error")
    advice = JOB_ADVICE.get(
        error["code"], "the code is the upstream's own: ask there what it means"
    )
    print_fields(
        [
            ("message", error["message"]),
            ("code", error["code"]),
            ("who acts", error["origin"]),
            ("what to do", advice),
            ("retryable", error["retryable"]),
        ]
    )


def _show_webhooks(api: Api, job_id: str) -> None:
    try:
        found = api.listed("/v1/delivery", params={"job": job_id, "size": _MOST_DELIVERIES})
        full = [api.call("GET", f"/v1/delivery/{one['id']}") for one in found]
    except CommandError as error:
        if error.code is ExitCode.DENIED:  # the key may read jobs and no webhooks
            return
        raise
    if not full:
        return
    head("Webhooks")
    print_table(full, _DELIVERIES)
    tries = [
        {**attempt, "type": one["type"]} for one in reversed(full) for attempt in one["attempts"]
    ]
    if tries:
        head("Attempts")
        print_table(sorted(tries, key=lambda one: str(one["startedAt"])), ATTEMPTS)
