"""`gateway receive`: a webhook receiver for tests, which verifies requests and fails on demand."""

import asyncio
import json
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
from aiohttp import web
from rich_click import RichCommand

from gateway.host.private_files import write_private
from gateway.webhooks import WebhookVerificationError, read_key, verify

_MOST_BODY_BYTES = 16 * 1024 * 1024
_HOOKS = "/hook/"


@dataclass(frozen=True, slots=True)
class Received:
    """A request as `GET /received` shows it; `status` is that of the response, 0 if there was none."""

    seq: int
    path: str
    webhookId: str | None  # noqa: N815 - named as in JSON
    type: str | None
    verified: bool
    reason: str | None
    status: int
    receivedAt: str  # noqa: N815
    jobId: str | None  # noqa: N815
    body: Any


@dataclass(slots=True)
class ReceiverBehaviour:
    """The response to the next `times` requests to a path; None means all later ones."""

    status: int = 200
    times: int | None = 1
    delay: float = 0.0
    hang: bool = False


class WebhookReceiver:
    """Holds the last requests, the secrets by the slug in the path, and scripted failures."""

    def __init__(self, keep: int, secrets_file: Path | None) -> None:
        self._seen: deque[Received] = deque(maxlen=keep)
        self._count = 0
        self._file = secrets_file
        self._secrets: dict[str, list[str]] = {}
        self._behaviours: dict[str, deque[ReceiverBehaviour]] = {}
        if secrets_file is not None and secrets_file.exists():
            self._secrets = json.loads(secrets_file.read_text())

    def app(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=_MOST_BODY_BYTES, middlewares=[_refuse_malformed])
        app.router.add_get("/received", self._list)
        app.router.add_get("/received/count", self._show_count)
        app.router.add_post("/secrets", self._add_secrets)
        app.router.add_post("/behave", self._behave)
        app.router.add_post("/{path:.*}", self._receive)
        return app

    async def _receive(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        behaviour = self._next_behaviour(request.path)
        reason = self._rejection(request, body)
        status = behaviour.status if reason is None else 401
        self._keep(request, body, reason, 0 if behaviour.hang else status)
        if behaviour.hang:
            await (
                asyncio.Event().wait()
            )  # until the sender closes the connection, which cancels this
        await asyncio.sleep(behaviour.delay)
        return web.json_response({"reason": reason}, status=status)

    def _rejection(self, request: web.Request, body: bytes) -> str | None:
        """Return why the request cannot be verified; None if it is verified."""
        slug = request.path.removeprefix(_HOOKS).partition("/")[0]
        known = self._secrets.get(slug) if request.path.startswith(_HOOKS) else None
        if not known:
            return "no secret is known for this path"
        try:
            verify(body, request.headers, known)
        except WebhookVerificationError as error:
            return str(error)
        return None

    def _keep(self, request: web.Request, body: bytes, reason: str | None, status: int) -> None:
        content = _decode(body)
        event = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        data = event.get("data")
        self._count += 1
        self._seen.append(
            Received(
                seq=self._count,
                path=request.path,
                webhookId=request.headers.get("webhook-id"),
                type=event.get("type"),
                verified=reason is None,
                reason=reason,
                status=status,
                receivedAt=_iso_now(),
                jobId=cast("dict[str, Any]", data).get("id") if isinstance(data, dict) else None,
                body=content,
            )
        )

    def _next_behaviour(self, path: str) -> ReceiverBehaviour:
        waiting = self._behaviours.get(path)
        if not waiting:
            return ReceiverBehaviour()
        behaviour = waiting[0]
        if behaviour.times is not None:
            behaviour.times -= 1
            if behaviour.times <= 0:
                waiting.popleft()
        return behaviour

    async def _list(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        return web.json_response([asdict(one) for one in self._seen if one.seq > after])

    async def _show_count(self, _request: web.Request) -> web.Response:
        return web.json_response({"count": self._count})

    async def _add_secrets(self, request: web.Request) -> web.Response:
        """Take `{slug: secret or [secrets]}`, and keep them in the file for a restart."""
        given = cast("dict[str, str | list[str]]", await request.json())
        lists = {slug: [one] if isinstance(one, str) else one for slug, one in given.items()}
        for secret in (secret for secrets in lists.values() for secret in secrets):
            read_key(secret)
        self._secrets.update(lists)
        if self._file is not None:
            write_private(self._file, json.dumps(self._secrets))
        return web.json_response({"slugs": sorted(self._secrets)})

    async def _behave(self, request: web.Request) -> web.Response:
        """Take `{path, status?, times?, delaySeconds?, hang?}`, and queue it behind earlier ones."""
        given = cast("dict[str, Any]", await request.json())
        behaviour = ReceiverBehaviour(
            status=given.get("status", 200),
            times=given.get("times", 1),
            delay=given.get("delaySeconds", 0.0),
            hang=given.get("hang", False),
        )
        self._behaviours.setdefault(given["path"], deque()).append(behaviour)
        return web.json_response({})


@web.middleware
async def _refuse_malformed(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (ValueError, KeyError, TypeError) as error:
        return web.json_response({"reason": f"malformed request: {error!r}"}, status=400)


def _decode(body: bytes) -> object:
    """Parse the body as JSON; if it is not JSON return its text."""
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _iso_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@click.command(cls=RichCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option("--keep", default=10_000, show_default=True, help="How many requests to remember.")
@click.option(
    "--secrets",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that keeps the signing secrets across restarts.",
)
def receive(host: str, port: int, keep: int, secrets: Path | None) -> None:
    """Receive webhooks at /hook/SLUG, verify them, and list them at /received.

    POST /secrets sets the signing secrets, POST /behave scripts failures.
    """
    asyncio.run(_serve(WebhookReceiver(keep, secrets).app(), host, port))


async def _serve(app: web.Application, host: str, port: int) -> None:
    # A hanging handler must end when the sender closes the connection.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        name, real_port = runner.addresses[0][:2]
        click.echo(json.dumps({"receiver": f"http://{name}:{real_port}"}))
        await stopped.wait()
    finally:
        await runner.cleanup()
