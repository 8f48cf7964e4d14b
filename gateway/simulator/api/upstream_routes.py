"""The eight routes of the Music AI API; each function turns a call into a response."""

from collections.abc import Callable

import msgspec

from gateway.simulator.api.job_json import render
from gateway.simulator.api.requests import read_span, read_submission
from gateway.simulator.behaviour import Behaviour, Partial, overlay
from gateway.simulator.http.messages import (
    RefusedError,
    Request,
    Response,
    json_response,
    parse_query,
    problem,
    refuse,
)
from gateway.simulator.jobs.table import SimulatedApplication, SimulatedJob, page
from gateway.simulator.jobs.workflows import BORN, ONE_FILE, SimulatedWorkflow, make_workflow
from gateway.simulator.state import State

LOCATIONS = {
    ("POST", "job"): "submit",
    ("GET", "job"): "list",
    ("GET", "upload"): "upload",
    ("GET", "workflow"): "workflows",
    ("GET", "application"): "application",
}
REFUSED_KEYS = {
    "revoked": (401, "Invalid API key."),
    "unpaid": (402, "Insufficient credits."),
    "forbidden": (403, "This key may not be used here."),
}


class ApiCall:
    """One authenticated request: its application, the job id, and settings for this request only."""

    __slots__ = ("application", "over", "request", "state", "target")

    def __init__(
        self,
        state: State,
        request: Request,
        application: SimulatedApplication,
        target: str,
        over: Partial | None,
    ) -> None:
        self.state = state
        self.request = request
        self.application = application
        self.target = target
        self.over = over

    def behaviour(self, workflow: str = "") -> Behaviour:
        usual = self.state.layers.resolve(self.application.key, workflow)
        return usual if self.over is None else overlay(usual, self.over)

    def job(self) -> SimulatedJob:
        """Return the caller's own job; a job of another key gives the same 404 as an unknown one."""
        job = self.state.jobs.by_id.get(self.target)
        hidden = (
            job is None
            or job.application is not self.application
            or (job.plan.hidden_seconds > self.state.clock.now() - job.created)
        )
        if job is None or hidden:
            raise refuse(404, "Job not found.")
        return job

    def shape(self, behaviour: Behaviour) -> str:
        if behaviour.shape != "auto":
            return behaviour.shape
        return "object" if self.request.path.startswith("/api/") else "current"


def locate(method: str, rest: str) -> tuple[str, str]:
    """Return the name of the route and the job id in it; the name is empty if there is no such route."""
    if not rest.startswith("job/"):
        return LOCATIONS.get((method, rest), ""), ""
    target, _, leaf = rest[4:].partition("/")
    if method == "GET":
        return {"": "get", "status": "status"}.get(leaf, ""), target
    return ("delete" if method == "DELETE" and not leaf else ""), target


def perform(
    state: State, request: Request, route: str, target: str, over: Partial | None = None
) -> Response:
    """Authenticate, run the route, and turn a refusal into a response."""
    application = state.catalog.application(request.headers.get("authorization", ""))
    if application is None:
        return problem(401, "Missing or invalid API key.")
    if application.state != "active":
        return problem(*REFUSED_KEYS[application.state])
    try:
        return ROUTES[route](ApiCall(state, request, application, target, over))
    except RefusedError as refusal:
        return refusal.response


def submit(call: ApiCall) -> Response:
    submission = read_submission(call.request.body)
    behaviour = call.behaviour(submission.workflow)
    if submission.name is None and behaviour.require_name:
        raise refuse(400, "name is required.")
    workflow = _workflow(call.state, submission.workflow, behaviour)
    limit = behaviour.concurrency_limit
    full = limit is not None and call.application.active >= limit
    if full and behaviour.concurrency_policy == "refuse":
        raise refuse(429, f"At most {limit} jobs at once.", headers=(("Retry-After", "1"),))
    try:
        job = call.state.submit(call.application, workflow, submission, behaviour)
    except msgspec.MsgspecError as error:
        raise refuse(400, f"params.simulate: {error}") from error
    return Response(200, f'{{"id":"{job.id}"}}'.encode())


def read(call: ApiCall) -> Response:
    job = call.job()
    stale = job.stale_reads > 0
    job.stale_reads -= stale
    behaviour = call.behaviour(job.workflow.slug)
    now = call.state.clock.now()
    shape = call.shape(behaviour)
    return Response(200, render(job, behaviour, shape, call.state.signer, now, stale=stale))


def status(call: ApiCall) -> Response:
    job = call.job()
    behaviour = call.behaviour(job.workflow.slug)
    if behaviour.shape == "gen0":
        raise refuse(404, "Not found.")
    return json_response({"id": job.id, "status": behaviour.show_status or job.status})


def delete(call: ApiCall) -> Response:
    job = call.job()
    call.state.delete(job)
    return json_response({"id": job.id})


def listing(call: ApiCall) -> Response:
    query = parse_query(call.request.query)
    behaviour, signer = call.behaviour(), call.state.signer
    jobs = page(
        call.application,
        query.get("status", ()),
        read_span(query, behaviour.max_page_size),
        newest_first=behaviour.list_order == "desc",
        keep=_filter(call, behaviour, query),
    )
    now, shape = call.state.clock.now(), call.shape(behaviour)
    rendered = [render(job, behaviour, shape, signer, now) for job in jobs]
    return Response(200, b"[%b]" % b",".join(rendered))


def workflows(call: ApiCall) -> Response:
    behaviour = call.behaviour()
    span = read_span(parse_query(call.request.query), behaviour.max_page_size)
    known = list(call.state.catalog.workflows.values())
    rows = [
        {
            "id": workflow.id,
            "name": workflow.name,
            "slug": workflow.slug,
            "description": workflow.description,
            "createdAt": BORN,
            "updatedAt": BORN,
        }
        for workflow in known[slice(*span)]
    ]
    return json_response(rows if behaviour.workflow_envelope == "array" else {"workflows": rows})


def application(call: ApiCall) -> Response:
    return json_response({"id": call.application.id, "name": call.application.name})


def upload(call: ApiCall) -> Response:
    behaviour, state = call.behaviour(), call.state
    name, now = state.new_object_name(), state.clock.now()
    put_until = int(now + behaviour.upload_expiry_seconds)
    get_until = int(now + behaviour.download_expiry_seconds)
    return json_response(
        {
            "uploadUrl": state.signer.url("PUT", name, put_until),
            "downloadUrl": state.signer.url("GET", name, get_until),
        }
    )


ROUTES: dict[str, Callable[[ApiCall], Response]] = {
    "submit": submit,
    "get": read,
    "status": status,
    "list": listing,
    "delete": delete,
    "workflows": workflows,
    "application": application,
    "upload": upload,
}


def _workflow(state: State, name: str, behaviour: Behaviour) -> SimulatedWorkflow:
    workflow = state.catalog.workflow(name)
    if workflow is not None:
        return workflow
    if behaviour.unknown_workflow == "accept":
        workflow = make_workflow(name, name, "", ONE_FILE)
        state.catalog.add_workflow(workflow)
        return workflow
    raise refuse(behaviour.unknown_workflow, f"Workflow {name!r} not found.")


def _filter(
    call: ApiCall, behaviour: Behaviour, query: dict[str, list[str]]
) -> Callable[[SimulatedJob], bool] | None:
    """Return a filter, or None if every job with the wanted statuses is listed, which is cheaper."""
    slugs, batches = query.get("workflow"), query.get("batchName")
    lag = behaviour.list_lag_seconds
    if not (slugs or batches or lag or call.state.jobs.some_lag):
        return None
    now = call.state.clock.now()

    def keep(job: SimulatedJob) -> bool:
        plan = job.plan
        age = now - job.created
        return (
            (not slugs or job.workflow.slug in slugs)
            and (not batches or job.batch_name in batches)
            and age >= max(lag, plan.list_lag_seconds, plan.hidden_seconds)
        )

    return keep
