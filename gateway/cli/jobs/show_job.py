"""Print a job for people: its fields, its error with advice, input and result, and its webhooks."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.api.client import Api
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import leaves, print_fields, print_heading, print_json, print_table
from gateway.cli.webhooks.show_delivery import ATTEMPTS, DELIVERIES
from gateway.core.explain.failure_advice import JOB_ADVICE

_PAYLOADS = {"workflowParams": "Input", "result": "Result", "metadata": "Metadata"}
_MOST_DELIVERIES = 20


def show_job(api: Api, job: Mapping[str, Any]) -> None:
    """Print a job, the most wanted parts first."""
    fields = {name: value for name, value in job.items() if name not in (*_PAYLOADS, "error")}
    gateway: Mapping[str, Any] = fields.pop("gateway", {})
    print_fields([*fields.items(), *leaves(gateway)])
    if job["error"]:
        _show_error(job["error"])
    for name, heading in _PAYLOADS.items():
        if job[name]:
            print_heading(heading)
            print_json(job[name], indent=2)
    _show_webhooks(api, str(job["id"]))


def _show_error(error: Mapping[str, Any]) -> None:
    print_heading("Error")
    advice = JOB_ADVICE.get(
        error["code"], "the code comes from the upstream: look it up in its documentation"
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
        if error.code is ExitCode.DENIED:  # the key may read jobs but not webhooks
            return
        raise
    if not full:
        return
    print_heading("Webhooks")
    print_table(full, DELIVERIES)
    attempts = [
        {**attempt, "type": one["type"]} for one in reversed(full) for attempt in one["attempts"]
    ]
    if attempts:
        print_heading("Attempts")
        print_table(sorted(attempts, key=lambda one: str(one["startedAt"])), ATTEMPTS)
