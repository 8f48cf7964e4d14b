"""Answers that hold a whole filter, or all of a tenant: CSV and NDJSON, sent as they are read."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Literal, cast
from uuid import UUID

from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.core.text.printable import printable_cells
from gateway.errors import GatewayError, Unavailable
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deps import Deps
from gateway.flows.read.export import export_jobs, export_tenant
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import Page
from gateway.store.job_search.render import END, HEADER, Form
from gateway.web.asgi.http10_end import Ending, reset_unless_whole
from gateway.web.asgi.types import Message, Receive, Scope, Send
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.parse.accept_header import preferred
from gateway.web.respond.csv import CSV, CSV_TYPE, csv_head, file_named
from gateway.web.respond.raw_response import JSON
from gateway.web.respond.sse import Streams
from gateway.web.routes.jobs.workflow_forms import Shown, with_workflows
from gateway.web.schemas.responses import described

NDJSON = "application/x-ndjson"
Format = Literal["json", "csv", "ndjson"]
_MEDIA_TYPES: dict[str, Format] = {JSON: "json", CSV: "csv", NDJSON: "ndjson"}

# Who reads nothing for so long is cut off.
_IDLE_SECONDS = 60.0
_STEP_SECONDS = 0.25
Pages = AsyncGenerator[Page]


@dataclass(frozen=True, slots=True)
class Download:
    """An ASGI answer that is sent in chunks, the next one once the reader has taken the last.

    Where not all was sent, because the process stops, the database is away, its caller is not
    `admitted` any more, or nothing was read for 60 s, it breaks off: without its last chunk, or over
    HTTP/1.0 with a reset.
    """

    media_type: str
    chunks: AsyncGenerator[bytes]
    streams: Streams
    owner: str
    closing: Callable[[], bool]
    admitted: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    bodiless: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; raises StreamsFull, Unavailable, and what the first chunk raises, before that."""
        async with aclosing(self.chunks):
            with self.streams.room(self.owner):
                first = b"" if self.bodiless else await anext(self.chunks, b"")
                if self.closing():
                    raise Unavailable("This process is stopping. Ask again.", retry_after=1)
                if self.bodiless:
                    await send(self._start())
                    await send(_body(b"", more=False))
                    return
                async with reset_unless_whole(scope) as ending:
                    await self._send_all(receive, send, first, ending)

    async def _send_all(self, receive: Receive, send: Send, first: bytes, ending: Ending) -> None:
        gone = asyncio.create_task(_gone(receive))
        try:
            await send(self._start())
            await self._pump(send, first, gone, ending)
        finally:
            await _ended(gone)

    def _start(self) -> Message:
        named = {"Content-Type": self.media_type, "Vary": "Accept", **self.headers}
        headers = [(name.lower().encode(), text.encode()) for name, text in named.items()]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    async def _pump(
        self, send: Send, first: bytes, gone: asyncio.Task[None], ending: Ending
    ) -> None:
        with suppress(GatewayError):
            async with self.admitted():
                is_taken = await self._takes(send, _body(first), gone)
                while is_taken and (chunk := await anext(self.chunks, b"")):
                    is_taken = await self._takes(send, _body(chunk), gone)
                end = asyncio.get_running_loop().time() + _IDLE_SECONDS
                if is_taken and await ending.allow(lambda: self._gives_up(gone, end)):
                    await send(_body(b"", more=False))

    def _gives_up(self, gone: asyncio.Task[None], end: float) -> bool:
        return gone.done() or self.closing() or asyncio.get_running_loop().time() > end

    async def _takes(self, send: Send, message: Message, gone: asyncio.Task[None]) -> bool:
        """Whether a message went out in time."""
        if gone.done() or self.closing():
            return False
        sending, left = asyncio.ensure_future(send(message)), _IDLE_SECONDS
        try:
            while left > 0 and not sending.done():
                left = 0 if self.closing() or gone.done() else left - _STEP_SECONDS
                await asyncio.wait({sending}, timeout=min(left, _STEP_SECONDS))
            return sending.done()
        finally:
            await _ended(sending)


def format_of(request: AnyRequest, asked: Format | None) -> Format:
    """The form that is asked for, by the parameter or else by the header Accept; JSON by default."""
    if asked is not None:
        return asked
    return _MEDIA_TYPES[preferred(request_context_of(request).header(b"accept"), [*_MEDIA_TYPES])]


def jobs_download(
    context: Context,
    request: AnyRequest,
    kind: Form,
    *,
    wanted: JobFilter,
    before: UUID | None,
    shown: Shown,
) -> ASGIApp:
    """Jobs of a filter as CSV with a header row, or as NDJSON."""
    pages = export_jobs(context.deps, wanted, kind, before)
    if kind == "csv":
        return _download(context, request, CSV_TYPE, _csv(pages), name="jobs")
    return _download(context, request, NDJSON, _ndjson(pages, shown), name="jobs")


@get(
    "/tenant/{slug:str}/export",
    responses=described(str, "All of it", NDJSON),
    operation_id="exportTenant",
    summary="Export all that is kept of a tenant",
)
async def take_tenant(
    slug: FromPath[str], context: Injected[Context], deps: Injected[Deps], request: AnyRequest
) -> ASGIApp:
    """NDJSON: an object a line, its `kind` first. Without secrets."""
    tenant = await get_tenant(deps, slug)
    lines = _joined(export_tenant(deps, tenant))
    return _download(context, request, NDJSON, lines, name=f"tenant-{tenant.slug}")


def _download(
    context: Context,
    request: AnyRequest,
    media_type: str,
    chunks: AsyncGenerator[bytes],
    *,
    name: str,
) -> ASGIApp:
    envelope, slots = request_context_of(request), context.deps.slots
    caller = envelope.identified
    answer = Download(
        media_type,
        chunks,
        context.exports,
        str(caller.tenant.id if caller.tenant else caller.key.key_id),
        lambda: slots.closing,
        lambda: context.admissions.within(caller),
        headers=file_named(
            name, context.deps.clock.now(), "csv" if media_type == CSV_TYPE else "ndjson"
        ),
        bodiless=envelope.bodiless,
    )
    return cast("ASGIApp", answer)


async def _joined(pages: AsyncGenerator[list[str]]) -> AsyncGenerator[bytes]:
    async with aclosing(pages):
        async for page in pages:
            yield ("\n".join(page) + "\n").encode()


async def _ndjson(pages: Pages, shown: Shown) -> AsyncGenerator[bytes]:
    names: dict[str, str] = {}
    async with aclosing(pages):
        async for page in pages:
            lines = [await with_workflows(_flat(text), names, shown) for text in page.texts]
            names.clear()
            yield b"".join(lines)


def _flat(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace(END, "\n")


async def _csv(pages: Pages) -> AsyncGenerator[bytes]:
    yield csv_head(HEADER).encode()
    async with aclosing(pages):
        async for page in pages:
            yield b"".join([printable_cells(text).encode() for text in page.texts])


def _body(content: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
