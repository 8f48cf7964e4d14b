"""Turns the faults of a request into its response, with or without doing the work."""

from collections.abc import Callable
from email.utils import formatdate

from msgspec.structs import replace

from gateway.simulator.behaviour import Partial, merge
from gateway.simulator.clock import SimulatedClock
from gateway.simulator.faults.script import (
    Action,
    Ambiguous,
    Close,
    Cut,
    Delay,
    Drip,
    Hang,
    Overlay,
    Reset,
    Respond,
)
from gateway.simulator.http.messages import JSON, Response, WireScript, problem

Perform = Callable[[Partial | None], Response]
HTML = "text/html; charset=utf-8"


def answer(actions: list[Action], perform: Perform, clock: SimulatedClock) -> Response:
    """Apply the actions: delays add up, settings merge, and the first ending action decides."""
    delay, over = 0.0, None
    ending: Action | None = None
    for action in actions:
        if isinstance(action, Delay):
            delay += action.seconds
        elif isinstance(action, Overlay):
            over = merge(over or {}, action.settings)
        elif ending is None:
            ending = action
    response = _end(ending, lambda: perform(over), clock)
    if delay:
        response.wire = replace(response.wire or WireScript(), delay=delay)
    return response


def _end(ending: Action | None, perform: Callable[[], Response], clock: SimulatedClock) -> Response:
    match ending:
        case Respond():
            return _respond(ending, clock)
        case Ambiguous():
            perform()
            return _lose(ending, clock)
        case Hang(seconds=seconds):
            return _silent(WireScript(end="hang", hang_seconds=seconds))
        case Reset():
            return _silent(WireScript(end="reset"))
        case Close():
            return _silent(WireScript(end="close"))
        case _:
            return _mangle(ending, perform())


def _lose(ending: Ambiguous, clock: SimulatedClock) -> Response:
    if isinstance(ending.then, Respond):
        return _respond(ending.then, clock)
    return _silent(WireScript(end=ending.then, hang_seconds=ending.hang_seconds))


def _mangle(ending: Action | None, response: Response) -> Response:
    match ending:
        case Cut():
            response.wire = WireScript(end="cut")
        case Drip():
            response.wire = WireScript(
                end="drip",
                drip_bytes=ending.bytes,
                drip_seconds=ending.seconds,
                drip_from=ending.part,
            )
        case _:
            pass
    return response


def _silent(wire: WireScript) -> Response:
    return Response(0, b"", wire=wire)


def _respond(action: Respond, clock: SimulatedClock) -> Response:
    """Build the scripted response, with a fitting content type unless one is given."""
    response = problem(action.status, "Scripted fault.", code=action.code)
    if action.body == "html":
        page = f"<html><body><h1>{action.status}</h1></body></html>"
        response.body, response.content_type = page.encode(), HTML
    elif action.body == "empty":
        response.body = b""
    elif action.body == "truncated":
        response.body = b'{"id": "2e35babc-91c4-4121-89f4-5a2a'
    elif action.body == "huge":
        response.wire = WireScript(end="flood", flood_bytes=action.bytes)
    if action.text is not None:
        response.body = action.text.encode()
    response.content_type = action.content_type or response.content_type or JSON
    response.headers = (*action.headers.items(), *_retry_after(action, clock))
    return response


def _retry_after(action: Respond, clock: SimulatedClock) -> tuple[tuple[str, str], ...]:
    if action.retry_after is None:
        return ()
    if action.retry_after_format == "date":
        return (("Retry-After", formatdate(clock.wall() + action.retry_after, usegmt=True)),)
    return (("Retry-After", f"{action.retry_after:g}"),)
