"""The simulator as a Litestar app, for tests in the same process."""

import asyncio

from litestar import Litestar, asgi
from litestar.enums import ScopeType
from litestar.exceptions import NotFoundException
from litestar.types import HTTPScope, Receive, Scope, Send

from gateway.simulator.http.messages import Request, Response, WireScript
from gateway.simulator.service import Service
from gateway.simulator.state import State

FILES_BASE = "http://files.simulator.test"
FOLDERS = ("/moises/", "/results/")


def create_app(state: State | None = None, *, seed: int = 0) -> Litestar:
    """API, control and file routes in one app.

    ASGI has no socket to break: a scripted reset or hang raises LitestarException instead.
    """
    service = Service(state or State(seed, files_base=FILES_BASE))

    @asgi("/", is_mount=True, copy_scope=True)
    async def everything(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            raise NotFoundException
        request = await _read(scope, receive)
        is_file = request.path.startswith(FOLDERS)
        await _write(
            service.answer_files(request) if is_file else service.answer_api(request), send
        )

    return Litestar(route_handlers=[everything], openapi_config=None)


async def _read(scope: HTTPScope, receive: Receive) -> Request:
    pieces: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ConnectionResetError
        pieces.append(message["body"])
        more = message["more_body"]
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    path = scope["raw_path"].decode("latin-1").partition("?")[0]
    query = scope["query_string"].decode("latin-1")
    return Request(scope["method"], path, query, headers, b"".join(pieces))


async def _write(response: Response, send: Send) -> None:
    wire = response.wire or WireScript()
    await asyncio.sleep(wire.delay)
    if wire.end == "hang":
        await asyncio.sleep(10**9 if wire.hang_seconds is None else wire.hang_seconds)
    lost = wire.end in {"hang", "reset", "close", "cut"}
    body = response.body.ljust(wire.flood_bytes)
    headers = [("Content-Type", response.content_type), *response.headers]
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send(
        {"type": "http.response.start", "status": response.status or 500, "headers": encoded}
    )
    if lost:
        # After the start of a response, Litestar passes the exception to the caller.
        raise ConnectionResetError
    await send({"type": "http.response.body", "body": body, "more_body": False})
