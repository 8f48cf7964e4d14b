"""The outermost layer, plain ASGI: request ids, the cap on bodies, accept, the report of it all."""

import structlog

from gateway.web.accept import PATHS, accept
from gateway.web.answer import Answer, refusal_answer, send_answer
from gateway.web.asgi import App, Message, Receive, Scope, Send
from gateway.web.bodies import ClientGoneError, read_all
from gateway.web.context import Context
from gateway.web.envelope import STATE, Envelope, headers_of, refuse_path, request_id_of

_CLIENT_GONE = 499
_UNSENT = 0
_NO_CONTENT = 204
_NOT_ALLOWED = 405
# HEAD is GET without the body. OPTIONS is answered with what a refused method is told: Litestar's
# own OPTIONS handlers leave methods out of Allow where a path has several handlers.
_ASKED_AS = {"HEAD": "GET", "OPTIONS": "TRACE"}
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_SILENT = ("/health/", "/metrics")
_log = structlog.get_logger("gateway.web")


class Front:
    """The ASGI application; `in_flight` counts the requests that have no answer yet."""

    def __init__(self, context: Context, inner: App, max_body_bytes: int) -> None:
        self.in_flight = 0
        self._context = context
        self._inner = inner
        self._max = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other kinds of connection are Litestar's."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        self.in_flight += 1
        exchange = _Exchange(self._context, scope, send)
        try:
            await exchange.run(receive, self._inner, self._max)
        finally:
            self.in_flight -= 1
            exchange.report()


class _Exchange:
    """One request and its answer."""

    def __init__(self, context: Context, scope: Scope, send: Send) -> None:
        deps = context.deps
        self._context = context
        self._scope = scope
        self._send = send
        self._started = deps.clock.monotonic()
        self._status = _UNSENT
        request_id = request_id_of(scope["headers"], deps.ids)
        self._envelope = Envelope(request_id, {}, scope["query_string"])
        self._method: str = scope["method"]
        self._envelope.bodiless = self._method == "HEAD"
        path: str = scope["path"]
        self._route = path if self._method == "POST" and path in PATHS else ""

    async def run(self, receive: Receive, inner: App, max_body: int) -> None:
        """Answer, whatever happens."""
        envelope = self._envelope
        try:
            refuse_path(self._scope["path"])
            envelope.headers = headers_of(self._scope["headers"])
            envelope.body = await read_all(self._scope, envelope.headers, receive, max_body)
            if self._route:
                await self._answer(await accept(self._context, envelope, self._route))
            else:
                await self._pass_on(inner, receive)
        except ClientGoneError:
            self._status = _CLIENT_GONE
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            await self._refuse(error)

    def report(self) -> None:
        """Tell the observer."""
        if self._scope["path"].startswith(_SILENT):
            return
        deps, caller = self._context.deps, self._envelope.caller
        tenant = caller.tenant if caller else None
        deps.observer.done(
            "http",
            str(self._status),
            seconds=deps.clock.monotonic() - self._started,
            method=self._method if self._method in _METHODS else "other",
            route=self._route or self._scope.get("path_template", ""),
            request_id=self._envelope.request_id,
            key_id=caller.key.key_id if caller else None,
            tenant=tenant.slug if tenant else None,
        )

    async def _answer(self, answer: Answer) -> None:
        self._status = answer.status
        await send_answer(self._send, answer, self._envelope)

    async def _refuse(self, error: Exception) -> None:
        answer = refusal_answer(error, self._envelope.request_id)
        if self._status == _UNSENT:
            await self._answer(answer)

    async def _pass_on(self, inner: App, receive: Receive) -> None:
        self._scope.setdefault("state", {})[STATE] = self._envelope
        self._scope["method"] = _ASKED_AS.get(self._method, self._method)
        await inner(self._scope, receive, self._stamped)

    async def _stamped(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self._method == "OPTIONS" and message["status"] == _NOT_ALLOWED:
                message["status"] = _NO_CONTENT
                message["headers"] = [pair for pair in message["headers"] if pair[0] == b"allow"]
            self._status = message["status"]
            stamp = (b"x-request-id", self._envelope.request_id.encode())
            message["headers"] = [*message["headers"], stamp, *self._envelope.notes]
        elif self._method in _ASKED_AS:
            message["body"] = b""
        await self._send(message)
