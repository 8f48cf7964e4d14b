"""Renders a job as JSON: the current shape, older generations, and results with signed URLs."""

from typing import Any, cast
from urllib.parse import quote

import msgspec

from gateway.simulator.behaviour import Behaviour
from gateway.simulator.clock import iso
from gateway.simulator.files.signed_urls import Signer
from gateway.simulator.http.messages import encode_json
from gateway.simulator.jobs.plans import TERMINAL
from gateway.simulator.jobs.table import SimulatedJob
from gateway.simulator.jobs.workflows import SimulatedWorkflow

CUSTOM_STORAGE = "[custom storage]"
FOREVER = float("inf")
DROPPED = {
    "gen0": ("app", "batchName", "error", "metadata"),
    "gen1": ("app", "batchName", "error"),
    "gen2": ("error",),
}
SHAPES: dict[str, dict[str, object] | None] = {
    "mixed": {
        "vocals": "file:vocals.wav",
        "bpm": "120",
        "transcript": '{"lines": []}',
        "stored": CUSTOM_STORAGE,
        "count": 3,
        "loud": True,
        "levels": [0.1, 0.5],
        "detail": {"key": "C"},
        "nothing": None,
    },
    "many": {f"Output {n}": f"file:output {n}.wav" for n in range(1, 61)},
    "unicode": {
        "Kick drum": "file:Kick drum.wav",
        "Größe / 100%": "file:größe.wav",
        "歌声": "file:歌声.wav",
        "emoji 🎸": "🎸",
    },
    "empty": {},
    "null": None,
}


class Wired(msgspec.Struct, rename="camel"):
    """The Job object of the API, with its keys in the order of the real service."""

    id: str
    app: str
    name: str
    batch_name: str | None
    metadata: msgspec.Raw
    workflow: str | dict[str, str]
    workflow_params: msgspec.Raw
    status: str
    result: Any
    error: Any
    created_at: str | None
    started_at: str | None
    completed_at: str | None


def workflow_value(workflow: SimulatedWorkflow, shape: str) -> str | dict[str, str]:
    if shape in {"gen0", "gen1", "object"}:
        return {"id": workflow.id, "name": workflow.name}
    return workflow.slug


def render(
    job: SimulatedJob,
    behaviour: Behaviour,
    shape: str,
    signer: Signer,
    now: float,
    *,
    stale: bool = False,
) -> bytes:
    """Render a job; `shape` is current, object (only `workflow` is old) or gen0 to gen2.

    A stale read shows a finished job as STARTED.
    """
    is_cacheable = shape == "current" and not stale and _is_cacheable(behaviour, job)
    if is_cacheable and now < job.encoded_until:
        return job.encoded
    wired = _wire(job, shape, signer, int(_expiry(job, behaviour, now)), stale=stale)
    if not is_cacheable:
        return encode_json(_reshape(wired, job, behaviour, shape))
    job.encoded = encode_json(wired)
    refreshed = now + behaviour.result_expiry_seconds / 2
    job.encoded_until = refreshed if behaviour.result_refresh else FOREVER
    return job.encoded


def _is_cacheable(behaviour: Behaviour, job: SimulatedJob) -> bool:
    plan = job.plan
    return not (
        behaviour.omit_keys
        or behaviour.extra_fields
        or behaviour.show_status
        or plan.omit_keys
        or plan.extra_fields
    )


def _expiry(job: SimulatedJob, behaviour: Behaviour, now: float) -> float:
    """Return when links expire: counted from each read if they are refreshed, else from the job's end."""
    since = now if behaviour.result_refresh else (job.completed or now)
    return since + behaviour.result_expiry_seconds


def _wire(job: SimulatedJob, shape: str, signer: Signer, expires: int, *, stale: bool) -> Wired:
    status = "STARTED" if stale else job.status
    return Wired(
        id=job.id,
        app=job.application.name,
        name=job.name,
        batch_name=job.batch_name,
        metadata=msgspec.Raw(job.metadata),
        workflow=workflow_value(job.workflow, shape),
        workflow_params=msgspec.Raw(job.params),
        status=status,
        result=_result(job, signer, expires) if status == "SUCCEEDED" else None,
        error=job.planned_error if status == "FAILED" else None,
        created_at=iso(job.created),
        started_at=iso(job.started),
        completed_at=iso(job.completed) if status in TERMINAL else None,
    )


def _reshape(
    wired: Wired, job: SimulatedJob, behaviour: Behaviour, shape: str
) -> dict[str, object]:
    fields = cast("dict[str, object]", msgspec.json.decode(encode_json(wired)))
    if behaviour.show_status is not None:
        fields["status"] = behaviour.show_status
    for key in (*DROPPED.get(shape, ()), *behaviour.omit_keys, *job.plan.omit_keys):
        fields.pop(key, None)
    return fields | behaviour.extra_fields | job.plan.extra_fields


def _result(job: SimulatedJob, signer: Signer, expires: int) -> object:
    result = outputs(job)
    if not isinstance(result, dict):
        return result
    name = f"results/{job.id}"
    before, after = f"{signer.prefix(name)}/", signer.suffix("GET", name, expires)
    named = cast("dict[str, object]", result)
    return {key: _value(job, key, value, before, after) for key, value in named.items()}


def _value(job: SimulatedJob, key: str, value: object, before: str, after: str) -> object:
    if job.copy_to and key in job.copy_to:
        return CUSTOM_STORAGE
    if isinstance(value, str) and value.startswith("file:"):
        return f"{before}{quote(value.removeprefix('file:'), safe='')}{after}"
    return value


def outputs(job: SimulatedJob) -> object:
    """Return the outputs of a job; files as `file:<name>`."""
    plan = job.plan
    if plan.result is not msgspec.UNSET:
        return plan.result
    if plan.result_shape != "workflow":
        return SHAPES[plan.result_shape]
    return {
        name: f"file:{name}{value}" if value.startswith(".") else value
        for name, value in job.workflow.outputs.items()
    }
