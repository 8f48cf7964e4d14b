"""Answers one request (control, API or files), applies faults, and records it in the log."""

from collections.abc import Callable

from gateway.simulator.api import upstream_routes
from gateway.simulator.api.requests import workflow_named
from gateway.simulator.behaviour import Partial
from gateway.simulator.control import control_routes
from gateway.simulator.control.record import Entry
from gateway.simulator.faults import answers
from gateway.simulator.faults.script import FaultedCall
from gateway.simulator.files import file_routes
from gateway.simulator.files.outbound_calls import OutboundCalls
from gateway.simulator.http.messages import Request, Response, problem
from gateway.simulator.state import State

PREFIXES = frozenset({"v1", "api"})


class Service:
    """Answers for both listeners; needs a running event loop only for jobs with outbound calls."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.outbound = OutboundCalls(state)
        self.go_down: Callable[[float], None] | None = None

    def answer_api(self, request: Request) -> Response:
        if request.path.startswith("/_control"):
            return self.answer_control(request)
        prefix, _, rest = request.path[1:].partition("/")
        route, target = (
            upstream_routes.locate(request.method, rest) if prefix in PREFIXES else ("", "")
        )
        return self._logged(request, route, target)

    def answer_files(self, request: Request) -> Response:
        if request.path.startswith("/_control"):
            return self.answer_control(request)
        return self._logged(request, "files", "")

    def answer_control(self, request: Request) -> Response:
        self.state.jobs.advance(self.state.clock.now())
        response = control_routes.answer(self.state, request, self.go_down)
        self._start_outbound_calls()
        return response

    def _logged(self, request: Request, route: str, target: str) -> Response:
        state = self.state
        now = state.clock.now()
        state.jobs.advance(now)
        if state.faults.active and route:
            response = self._with_faults(request, route, target)
        else:
            response = self._perform(request, route, target)
        self._start_outbound_calls()
        self._note(request, route or "unknown", response, now)
        return response

    def _note(self, request: Request, route: str, response: Response, now: float) -> None:
        headers = request.headers
        key = headers.get("authorization", "")
        self.state.record.note(
            Entry(
                now,
                request.method,
                request.path,
                request.query,
                route,
                key if key in self.state.catalog.applications else "unknown",
                response.status,
                response.wire,
                headers.get("user-agent", ""),
                len(request.body),
            )
        )

    def _perform(
        self, request: Request, route: str, target: str, over: Partial | None = None
    ) -> Response:
        if route == "files":
            return file_routes.perform(self.state, request)
        if not route:
            return problem(404, f"No route {request.method} {request.path}.")
        return upstream_routes.perform(self.state, request, route, target, over)

    def _with_faults(self, request: Request, route: str, target: str) -> Response:
        call = FaultedCall(
            method=request.method,
            route=route,
            key=request.headers.get("authorization", ""),
            workflow=workflow_named(self.state, request, target),
        )
        actions = self.state.faults.actions_for(call)
        return answers.answer(
            actions,
            lambda over: self._perform(request, route, target, over),
            self.state.clock,
        )

    def _start_outbound_calls(self) -> None:
        if self.state.jobs.to_copy or self.state.to_probe:
            self.outbound.start_all()
