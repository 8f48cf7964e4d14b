"""The `/_control` routes, which configure the simulator and show its state."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec

from gateway.simulator.behaviour import Layer, as_partial
from gateway.simulator.control import observe
from gateway.simulator.faults.script import Chaos, Overlay, ScriptedFault
from gateway.simulator.http.messages import RefusedError, Request, Response, json_response, refuse
from gateway.simulator.jobs.table import KeyState
from gateway.simulator.jobs.workflows import ONE_FILE, make_workflow
from gateway.simulator.state import State

GoDown = Callable[[float], None]
T = TypeVar("T")


class _Model(msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True):
    pass


class ServiceSettings(_Model):
    """Defaults for all callers, one key or one workflow; `chaos: null` ends the chaos."""

    defaults: dict[str, Any] = {}
    key: str | None = None
    workflow: str | None = None
    chaos: Chaos | msgspec.UnsetType | None = msgspec.UNSET


class KeyChange(_Model):
    key: str
    name: str | None = None
    state: KeyState = "active"


class WorkflowChange(_Model):
    slug: str
    name: str | None = None
    description: str = ""
    outputs: dict[str, str] = msgspec.field(default_factory=lambda: dict(ONE_FILE))


class ClockChange(_Model):
    advance_seconds: float = 0.0
    frozen: bool | None = None


class Restart(_Model):
    jobs: Literal["keep", "vanish"] = "keep"
    down_seconds: float = 0.0


class JobChange(_Model):
    status: str


def answer(state: State, request: Request, go_down: GoDown | None) -> Response:
    """Answer one control request; an invalid body gives 400 and changes nothing."""
    head, _, tail = request.path.removeprefix("/_control").strip("/").partition("/")
    try:
        if request.method == "GET":
            return json_response(observe.look(state, head, tail, request.query))
        if head == "restart" and request.method == "POST":
            return json_response(_restart(state, request.body, go_down))
        change = CHANGES.get((request.method, head))
        if change is None:
            raise refuse(404, f"No control {request.method} {request.path}.")
        return json_response(change(state, request.body, tail))
    except RefusedError as refusal:
        return refusal.response
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return refuse(400, str(error)).response


def _restart(state: State, body: bytes, go_down: GoDown | None) -> object:
    """Drop all connections, refuse new ones for a while, and keep or drop the jobs."""
    restart = _decode(body, Restart)
    if go_down is None:
        raise refuse(409, "A restart needs the socket server; this one answers in process.")
    if restart.jobs == "vanish":
        state.vanish()
    go_down(restart.down_seconds)
    return as_partial(restart)


def _set(state: State, body: bytes, _tail: str) -> object:
    settings = _decode(body, ServiceSettings)
    if settings.chaos is not msgspec.UNSET:
        state.faults.set_chaos(settings.chaos)
    if settings.defaults:
        layer, name = _layer(settings)
        state.layers.set(layer, name, settings.defaults)
        for application in state.catalog.applications.values():
            state.jobs.fill_slots(application, state.clock.now())
    return observe.settings(state)


def _layer(settings: ServiceSettings) -> tuple[Layer, str]:
    if settings.key is not None and settings.workflow is not None:
        raise refuse(400, "Give key or workflow, not both.")
    if settings.key is not None:
        return "key", settings.key
    return ("global", "") if settings.workflow is None else ("workflow", settings.workflow)


def _add_fault(state: State, body: bytes, _tail: str) -> object:
    fault = _decode(body, ScriptedFault)
    if isinstance(fault.action, Overlay):
        state.layers.check(fault.action.settings)
    return state.faults.add(fault)


def _drop_faults(state: State, _body: bytes, tail: str) -> object:
    if not tail:
        state.faults.clear()
        return {"cleared": "all"}
    if not tail.isdecimal() or not state.faults.remove(int(tail)):
        raise refuse(404, f"No fault {tail}.")
    return {"cleared": int(tail)}


def _change_key(state: State, body: bytes, _tail: str) -> object:
    change = _decode(body, KeyChange)
    application = state.catalog.add_key(change.key, change.name)
    application.state = change.state
    return observe.key(application)


def _add_workflow(state: State, body: bytes, _tail: str) -> object:
    change = _decode(body, WorkflowChange)
    workflow = make_workflow(
        change.slug, change.name or change.slug, change.description, change.outputs
    )
    state.catalog.add_workflow(workflow)
    return workflow


def _move_clock(state: State, body: bytes, _tail: str) -> object:
    change = _decode(body, ClockChange)
    if change.advance_seconds < 0:
        raise refuse(400, "advanceSeconds must not be negative.")
    if change.frozen is not None:
        (state.clock.freeze if change.frozen else state.clock.thaw)()
    state.clock.advance(change.advance_seconds)
    state.jobs.advance(state.clock.now())
    return observe.clock(state)


def _change_job(state: State, body: bytes, tail: str) -> object:
    job = observe.find_job(state, tail)
    state.jobs.force(job, _decode(body, JobChange).status, state.clock.now())
    return observe.job(job)


def _reset(state: State, _body: bytes, _tail: str) -> object:
    state.reset()
    return {"reset": True}


CHANGES: dict[tuple[str, str], Callable[[State, bytes, str], object]] = {
    ("POST", ""): _set,
    ("POST", "faults"): _add_fault,
    ("DELETE", "faults"): _drop_faults,
    ("POST", "keys"): _change_key,
    ("POST", "workflows"): _add_workflow,
    ("POST", "clock"): _move_clock,
    ("POST", "jobs"): _change_job,
    ("POST", "reset"): _reset,
}


def _decode(body: bytes, kind: type[T]) -> T:
    return msgspec.json.decode(body or b"{}", type=kind)
