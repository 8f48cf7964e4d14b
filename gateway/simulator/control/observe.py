"""The views of `GET /_control/...`: settings, faults, counters, the request log, raw jobs."""

from collections.abc import Callable
from itertools import islice

import msgspec

from gateway.simulator.control.record import Entry
from gateway.simulator.http.messages import parse_query, refuse
from gateway.simulator.jobs.table import SimulatedApplication, SimulatedJob
from gateway.simulator.state import State

Query = dict[str, list[str]]
DEFAULT_LIMIT = 100
MOST_COMPLETIONS = 10_000


def look(state: State, head: str, tail: str, query: str) -> object:
    if head == "jobs" and tail:
        return job(find_job(state, tail))
    view = VIEWS.get(head)
    if view is None or tail:
        raise refuse(404, f"No control GET {head}/{tail}.")
    return view(state, parse_query(query))


def settings(state: State) -> object:
    return {
        "seed": state.seed,
        "layers": state.layers.dump(),
        "effective": state.layers.resolve(""),
        "chaos": state.faults.chaos,
    }


def clock(state: State) -> object:
    return {"now": state.clock.now(), "offsetSeconds": state.clock.offset}


def key(application: SimulatedApplication) -> dict[str, object]:
    return {
        "key": application.key,
        "id": application.id,
        "name": application.name,
        "state": application.state,
        "jobs": len(application.order),
        "running": application.active,
        "waiting": len(application.waiting),
    }


def find_job(state: State, job_id: str) -> SimulatedJob:
    found = state.jobs.by_id.get(job_id)
    if found is None:
        raise refuse(404, f"No job {job_id}.")
    return found


def job(found: SimulatedJob) -> dict[str, object]:
    """Show a job; times are seconds since the epoch, by the simulator's clock."""
    return {
        "id": found.id,
        "key": found.application.key,
        "marker": found.marker,
        "name": found.name,
        "workflow": found.workflow.slug,
        "status": found.status,
        "queuedAt": found.created,
        "startedAt": found.started,
        "completedAt": found.completed,
        "metadata": msgspec.Raw(found.metadata),
        "params": msgspec.Raw(found.params),
        "steps": found.steps[found.step :],
        "plan": found.plan,
    }


def _settings(state: State, _query: Query) -> object:
    return settings(state)


def _stats(state: State, query: Query) -> object:
    record = state.record
    if "marker" in query:
        marker = query["marker"][-1]
        return {"marker": marker, "submissions": record.markers.get(marker, 0)}
    return {
        "submissions": record.submissions,
        "jobs": len(state.jobs.by_id),
        "completions": len(state.jobs.completions),
        "markers": len(record.markers),
        "repeated": record.repeated,
        "calls": record.calls,
        "totals": record.totals(),
        "statuses": {str(status): count for status, count in record.statuses.items()},
        "faultHits": state.faults.hits,
    }


def _requests(state: State, query: Query) -> object:
    newest_first = reversed(state.record.log)
    return [_entry(entry) for entry in islice(newest_first, _number(query, "limit", DEFAULT_LIMIT))]


def _entry(entry: Entry) -> dict[str, object]:
    return {
        "at": entry.at,
        "method": entry.method,
        "path": entry.path,
        "query": entry.query,
        "route": entry.route,
        "key": entry.key,
        "status": entry.status,
        "wire": entry.wire,
        "userAgent": entry.user_agent,
        "bytes": entry.size,
    }


def _completions(state: State, query: Query) -> object:
    after = _number(query, "after", 0)
    found = state.jobs.completions[after : after + MOST_COMPLETIONS]
    return {"next": after + len(found), "completions": found}


def _faults(state: State, _query: Query) -> object:
    return {
        "faults": list(state.faults.installed.values()),
        "chaos": state.faults.chaos,
        "hits": state.faults.hits,
    }


def _keys(state: State, _query: Query) -> object:
    return [key(application) for application in state.catalog.applications.values()]


def _workflows(state: State, _query: Query) -> object:
    return list(state.catalog.workflows.values())


def _clock(state: State, _query: Query) -> object:
    return clock(state)


def _jobs(state: State, query: Query) -> object:
    jobs = reversed(state.jobs.by_id.values())
    return [job(found) for found in islice(jobs, _number(query, "limit", DEFAULT_LIMIT))]


VIEWS: dict[str, Callable[[State, Query], object]] = {
    "": _settings,
    "stats": _stats,
    "requests": _requests,
    "completions": _completions,
    "faults": _faults,
    "keys": _keys,
    "workflows": _workflows,
    "clock": _clock,
    "jobs": _jobs,
}


def _number(query: Query, name: str, default: int) -> int:
    text = query.get(name, [str(default)])[-1]
    if not text.isdecimal():
        raise refuse(400, f"{name} must be an integer of at least 0.")
    return int(text)
