"""Answers that hold a whole filter, or all of a tenant: CSV and NDJSON, sent as they are read."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Literal, cast

import msgspec
from litestar import get
from litestar.openapi import ResponseSpec
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.core.events import instant, job_json
from gateway.core.model import STATE_STATUS, Job
from gateway.errors import GatewayError
from gateway.flows.deps import Deps
from gateway.flows.export import export_tenant
from gateway.flows.tenants import get_tenant
from gateway.web.asgi import Message, Receive, Scope, Send
from gateway.web.context import AnyRequest, Context, Handed, envelope_of
from gateway.web.spreadsheet import csv_lines
from gateway.web.streams import Streams

CSV, NDJSON = "text/csv", "application/x-ndjson"
Format = Literal["json", "csv", "ndjson"]
_CSV_WITH_HEADER = f"{CSV}; charset=utf-8; header=present"
_MEDIA_TYPES: dict[str, Format] = {CSV: "csv", NDJSON: "ndjson"}

# Who reads nothing for so long is cut off.
_IDLE_SECONDS = 60.0
_STEP_SECONDS = 0.25
_COLUMNS = (
    *("id", "tenant", "app", "name", "batchName", "workflow", "status", "state", "errorCode"),
    *("createdAt", "startedAt", "completedAt", "upstreamId", "submitAttempts", "version"),
    *("retryOf", "workflowParams", "metadata", "result", "error"),
)

Shown = Callable[[Job], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class Download:
    """An ASGI answer that is sent in chunks, the next one once the reader has taken the last.

    It stays without its proper end, which readers take for an error, where not all was sent: the
    process stops, the database is away, or nothing was read for 60 s.
    """

    media_type: str
    chunks: AsyncGenerator[bytes]
    streams: Streams
    owner: str
    closing: Callable[[], bool]
    bodiless: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send; raises RateLimited, and what reading the first chunk raises, before anything is sent."""
        del scope
        async with aclosing(self.chunks):
            with self.streams.room(self.owner):
                first = b"" if self.bodiless else await anext(self.chunks, b"")
                await send(self._start())
                if self.bodiless:
                    await send(_body(b"", more=False))
                    return
                gone = asyncio.create_task(_gone(receive))
                try:
                    await self._pump(send, first, gone)
                finally:
                    await _ended(gone)

    def _start(self) -> Message:
        headers = [(b"content-type", self.media_type.encode()), (b"vary", b"Accept")]
        return {"type": "http.response.start", "status": 200, "headers": headers}

    async def _pump(self, send: Send, first: bytes, gone: asyncio.Task[None]) -> None:
        with suppress(GatewayError):
            is_taken = await self._takes(send, _body(first), gone)
            while is_taken and (chunk := await anext(self.chunks, b"")):
                is_taken = await self._takes(send, _body(chunk), gone)
            if is_taken:
                await self._takes(send, _body(b"", more=False), gone)

    async def _takes(self, send: Send, message: Message, gone: asyncio.Task[None]) -> bool:
        """Whether a message went out in time."""
        if gone.done() or self.closing():
            return False
        sending, left = asyncio.ensure_future(send(message)), _IDLE_SECONDS
        while left > 0 and not sending.done():
            left = 0 if self.closing() or gone.done() else left - _STEP_SECONDS
            await asyncio.wait({sending}, timeout=min(left, _STEP_SECONDS))
        is_out = sending.done()
        await _ended(sending)
        return is_out


def format_of(request: AnyRequest, asked: Format | None) -> Format:
    """The form that is asked for, by the parameter or else by the header Accept; JSON by default."""
    if asked is not None:
        return asked
    accepted = envelope_of(request).header(b"accept").lower().split(",")
    for one in accepted:
        if kind := _MEDIA_TYPES.get(one.partition(";")[0].strip()):
            return kind
    return "json"


def jobs_download(
    context: Context,
    request: AnyRequest,
    kind: Format,
    *,
    pages: AsyncGenerator[list[Job]],
    shown: Shown,
) -> ASGIApp:
    """Pages of jobs as CSV with a header row, or as NDJSON."""
    if kind == "csv":
        return _download(context, request, _CSV_WITH_HEADER, _csv(pages))
    return _download(context, request, NDJSON, _ndjson(pages, shown))


@get(
    "/tenant/{slug:str}/export",
    responses={200: ResponseSpec(str, media_type=NDJSON, description="All of it")},
    summary="Export all that is kept of a tenant",
)
async def take_tenant(
    slug: FromPath[str], context: Handed[Context], deps: Handed[Deps], request: AnyRequest
) -> ASGIApp:
    """NDJSON: an object a line, its `kind` first. Without secrets."""
    tenant = await get_tenant(deps, slug)
    return _download(context, request, NDJSON, _joined(export_tenant(deps, tenant)))


def _download(
    context: Context, request: AnyRequest, media_type: str, chunks: AsyncGenerator[bytes]
) -> ASGIApp:
    envelope, slots = envelope_of(request), context.deps.slots
    caller = envelope.caller
    owner = caller.tenant.id if caller and caller.tenant else caller and caller.key.key_id
    answer = Download(
        media_type,
        chunks,
        context.streams,
        str(owner),
        lambda: slots.closing,
        bodiless=envelope.bodiless,
    )
    return cast("ASGIApp", answer)


async def _joined(pages: AsyncGenerator[list[str]]) -> AsyncGenerator[bytes]:
    async with aclosing(pages):
        async for page in pages:
            yield ("\n".join(page) + "\n").encode()


async def _ndjson(pages: AsyncGenerator[list[Job]], shown: Shown) -> AsyncGenerator[bytes]:
    async with aclosing(pages):
        async for page in pages:
            lines = [job_json(job, workflow=await shown(job)) for job in page]
            # Params are kept as they came, so there may be line breaks between their tokens.
            flat = [line.replace("\r", " ").replace("\n", " ") for line in lines]
            yield ("\n".join(flat) + "\n").encode()


async def _csv(pages: AsyncGenerator[list[Job]]) -> AsyncGenerator[bytes]:
    yield csv_lines([_COLUMNS]).encode()
    async with aclosing(pages):
        async for page in pages:
            yield csv_lines(map(_cells, page)).encode()


def _cells(job: Job) -> Sequence[object]:
    code = msgspec.json.decode(job.error, type=_Code).code if job.error else None
    times = (job.created_at, job.started_at, job.completed_at)
    return (
        *(job.id, job.tenant, job.app, job.name, job.batch_name, job.workflow),
        *(
            STATE_STATUS[job.state],
            job.state.value,
            code,
            *(at and instant(at)[1:-1] for at in times),
        ),
        *(job.upstream_id, job.submit_attempts, job.version, job.retry_of),
        *(job.params, job.metadata, job.result, job.error),
    )


class _Code(msgspec.Struct):
    code: str | None = None


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
