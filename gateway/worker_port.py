"""Serves a worker's liveness, readiness and metrics from a thread beside the event loop."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from typing_extensions import override

from gateway.exposition import CONTENT_TYPE, exposition, process_state
from gateway.flows.deps import Deps
from gateway.flows.health.readiness import Readiness, readiness

_ALIVE_SECONDS = 30.0
_READY_SECONDS = 2.0
_OK, _UNAVAILABLE = "200 OK", "503 Service Unavailable"

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], object]


def serve_port(deps: Deps, host: str, port: int, silent_for: Callable[[], float]) -> None:
    """Start the port; `silent_for` returns the seconds since the worker loop last took a turn."""
    loop = asyncio.get_running_loop()

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            start_response("200 OK", [("Content-Type", CONTENT_TYPE)])
            return [exposition(process_state(deps, database_up=deps.vitals.trouble == ""))]
        if not path.startswith("/health"):
            return _answer(start_response, "404 Not Found", "there is nothing at this path")
        alive = silent_for() < _ALIVE_SECONDS
        if not alive or path == "/health/live":
            return _answer(
                start_response, _OK if alive else _UNAVAILABLE, "ok" if alive else "silent"
            )
        found = _ask(loop, deps)
        more: dict[str, object] = {"redis": deps.queue.connected}
        more |= {"cause": found.cause} if found.cause else {}
        more |= {"redisTrouble": deps.queue.trouble} if deps.queue.trouble else {}
        return _answer(
            start_response, _OK if found.status == "ok" else _UNAVAILABLE, found.status, **more
        )

    kind = _Ipv6Server if ":" in host else WSGIServer
    server = make_server(host, port, app, kind, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _ask(loop: asyncio.AbstractEventLoop, deps: Deps) -> Readiness:
    asked = asyncio.run_coroutine_threadsafe(readiness(deps), loop)
    try:
        return asked.result(_READY_SECONDS)
    except TimeoutError:
        asked.cancel()
        return Readiness("database away", "the event loop of this process is busy")


def _answer(
    start_response: StartResponse, status: str, text: str, **more: object
) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "application/json")])
    return [json.dumps({"status": text, **more}).encode()]


class _Ipv6Server(WSGIServer):
    """A server that listens on an IPv6 address."""

    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    @override
    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: health checks are too frequent."""
