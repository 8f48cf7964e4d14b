"""The outermost ASGI layer: request ids, POST /job, conditional requests, the access log."""

from collections.abc import Collection

from gateway.web.asgi.etags import names_tag
from gateway.web.asgi.read_body import Incoming
from gateway.web.asgi.request_context import (
    CONTEXT,
    STATE,
    RequestContext,
    headers_of,
    request_id_of,
    traceparent_of,
)
from gateway.web.asgi.request_target import require_host, require_path
from gateway.web.asgi.types import App, Message, Receive, Scope, Send
from gateway.web.context import Context
from gateway.web.respond.raw_response import NO_STORE, RawResponse, refusal_answer, send_answer
from gateway.web.routes.jobs.create_job import PATHS, accept

_UNSENT = 0
_OK = 200
_NO_CONTENT = 204
_NOT_MODIFIED = 304
_NOT_ALLOWED = 405
# Litestar gets HEAD as GET, and its body is dropped here. It gets OPTIONS as a method that no route
# has: its 405 lists the methods of the path in Allow, and becomes a 204 here. Litestar's own OPTIONS
# handlers name the methods of only one handler of a path, and their guards ask for a key.
_NO_ROUTE = "TRACE"
_ROUTED_AS = {"HEAD": "GET", "OPTIONS": _NO_ROUTE}
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_ALL_METHODS = RawResponse(_OK, b"", headers=((b"allow", ", ".join(sorted(_METHODS)).encode()),))
_UNREPORTED = ("/health/", "/metrics")
_CLOSE = (b"connection", b"close")
_REVALIDATE = (b"cache-control", b"private, no-cache")
_BODY_HEADERS = frozenset({b"content-length", b"content-type"})


class FrontDoor:
    """The ASGI application; `in_flight` counts the requests that have no response yet.

    With `accepts_jobs` it answers POST /job itself.
    """

    def __init__(self, context: Context, inner: App, *, accepts_jobs: bool = True) -> None:
        self.in_flight = 0
        self._own_paths = PATHS if accepts_jobs else frozenset[str]()
        self.context = context
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; Litestar handles other kinds of connection."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        self.in_flight += 1
        incoming = Incoming(scope, receive, self.context.bodies)
        exchange = _Exchange(self.context, scope, send, incoming, self._own_paths)
        try:
            await exchange.run(receive, self._inner)
        finally:
            self.in_flight -= 1
            incoming.release()
            exchange.report()
        if not incoming.is_ended:
            await incoming.discard()


class _Exchange:
    """One request and its response."""

    def __init__(
        self,
        context: Context,
        scope: Scope,
        send: Send,
        incoming: Incoming,
        own_paths: Collection[str],
    ) -> None:
        deps = context.deps
        self._context = context
        self._scope = scope
        self._send = send
        self._started = deps.clock.monotonic()
        self._status = _UNSENT
        self._method: str = scope["method"]
        request_id = request_id_of(scope["headers"], deps.ids)
        self._request_context = RequestContext(
            request_id, self._method, {}, scope["query_string"], incoming
        )
        self._request_context.bodiless = self._method == "HEAD"
        path: str = scope["path"]
        self._is_unreported = path.startswith(_UNREPORTED)
        if deps.tracer and not self._is_unreported:
            self._request_context.span = deps.tracer.start("http", traceparent_of(scope["headers"]))
        self._route = path if self._method == "POST" and path in own_paths else ""

    async def run(self, receive: Receive, inner: App) -> None:
        """Answer the request; every error becomes a response."""
        request_context = self._request_context
        try:
            require_path(self._scope)
            request_context.headers = headers_of(self._scope["headers"])
            require_host(self._scope, request_context.headers)
            if self._route:
                await self._answer(await accept(self._context, request_context, self._route))
            elif self._scope["path"] == "*" and self._method == "OPTIONS":
                await self._answer(_ALL_METHODS)
            else:
                await self._pass_on(inner, receive)
        except Exception as error:  # noqa: BLE001 - every error becomes an answer
            await self._refuse(error)

    def report(self) -> None:
        """Report the request to the observer, for log and metrics."""
        if self._is_unreported:
            return
        deps, caller = self._context.deps, self._request_context.caller
        tenant = caller.tenant if caller else None
        deps.observer.done(
            "http",
            str(self._status),
            seconds=deps.clock.monotonic() - self._started,
            span=self._request_context.span,
            method=self._method if self._method in _METHODS else "other",
            route=self._route or self._scope.get("path_template", ""),
            request_id=self._request_context.request_id,
            key_id=caller.key.key_id if caller else None,
            tenant=tenant.slug if tenant else None,
        )

    async def _answer(self, answer: RawResponse) -> None:
        self._status = answer.status
        if self._must_close():
            self._request_context.response_headers.append(_CLOSE)
        await send_answer(self._send, answer, self._request_context)

    async def _refuse(self, error: Exception) -> None:
        answer = refusal_answer(error, self._request_context)
        if self._status == _UNSENT:
            await self._answer(answer)

    def _must_close(self) -> bool:
        """Whether the connection is closed after this response."""
        return self._context.deps.slots.draining or self._request_context.incoming.must_close

    async def _pass_on(self, inner: App, receive: Receive) -> None:
        state = self._scope.setdefault("state", {})
        state[STATE], state[CONTEXT] = self._request_context, self._context
        self._scope["method"] = _ROUTED_AS.get(self._method, self._method)
        await inner(self._scope, receive, self._send_on)

    async def _send_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._add_headers(message)
        elif self._method in _ROUTED_AS or self._status == _NOT_MODIFIED:
            message["body"] = b""
        await self._send(message)

    def _add_headers(self, message: Message) -> None:
        headers: list[tuple[bytes, bytes]] = [*message["headers"]]
        named = dict(headers)
        if self._method == "OPTIONS" and message["status"] == _NOT_ALLOWED:
            message["status"] = _NO_CONTENT
            headers = [(b"allow", named[b"allow"])]
        elif message["status"] == _OK and self._is_known(named.get(b"etag")):
            message["status"] = _NOT_MODIFIED
            headers = [pair for pair in headers if pair[0] not in _BODY_HEADERS]
        if b"cache-control" not in named:
            headers.append(_REVALIDATE if b"etag" in named else NO_STORE)
        self._status = message["status"]
        if self._must_close():
            self._request_context.response_headers.append(_CLOSE)
        request_id = (b"x-request-id", self._request_context.request_id.encode())
        message["headers"] = [*headers, request_id, *self._request_context.response_headers]

    def _is_known(self, tag: bytes | None) -> bool:
        """Whether If-None-Match names the entity tag of the response (conditional request)."""
        known = self._request_context.header(b"if-none-match")
        return bool(tag and known) and names_tag(known, (tag or b"").decode("latin-1"))
