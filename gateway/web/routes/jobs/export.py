"""Exports as CSV or NDJSON: all jobs of a filter, or all data of a tenant, sent while they are read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Literal, cast
from uuid import UUID

from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.core.text.printable import printable_cells
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.deps import Deps
from gateway.flows.read.export import export_jobs, export_tenant
from gateway.flows.read.job_text import ShowWorkflow, as_lines, with_workflows
from gateway.store.job_search.csv_and_json_columns import HEADER, Form
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import Page
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.parse.accept_header import preferred
from gateway.web.respond.csv import CSV, CSV_TYPE, csv_head, file_named
from gateway.web.respond.download import Download
from gateway.web.respond.raw_response import JSON
from gateway.web.schemas.responses import described

NDJSON = "application/x-ndjson"
Format = Literal["json", "csv", "ndjson"]
_MEDIA_TYPES: dict[str, Format] = {JSON: "json", CSV: "csv", NDJSON: "ndjson"}

Pages = AsyncGenerator[Page]


def format_of(request: AnyRequest, asked: Format | None) -> Format:
    """The format by the parameter, or else by the header Accept; JSON by default."""
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
    shown: ShowWorkflow,
) -> ASGIApp:
    """Jobs of a filter as CSV with a header row, or as NDJSON."""
    media_type, chunks = jobs_as(context.deps, kind, wanted=wanted, before=before, shown=shown)
    return _download(context, request, media_type, chunks, name="jobs")


def jobs_as(
    deps: Deps, kind: Form, *, wanted: JobFilter, before: UUID | None, shown: ShowWorkflow
) -> tuple[str, AsyncGenerator[bytes]]:
    """The media type and the pieces of an export of jobs; nothing is read before they are asked for."""
    pages = export_jobs(deps, wanted, kind, before)
    return (CSV_TYPE, _csv(pages)) if kind == "csv" else (NDJSON, _ndjson(pages, shown))


@get(
    "/tenant/{slug:str}/export",
    responses=described(str, "All of it", NDJSON),
    operation_id="exportTenant",
    summary="Export all data of a tenant",
)
async def export_tenant_data(
    slug: FromPath[str], context: Injected[Context], deps: Injected[Deps], request: AnyRequest
) -> ASGIApp:
    """NDJSON: one object per line, its `kind` first. Without secrets."""
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
    request_context, slots = request_context_of(request), context.deps.slots
    caller = request_context.required_caller
    answer = Download(
        media_type,
        chunks,
        context.exports,
        str(caller.tenant.id if caller.tenant else caller.key.key_id),
        lambda: slots.closing,
        lambda: context.long_requests.within(caller),
        headers=file_named(
            name, context.deps.clock.now(), "csv" if media_type == CSV_TYPE else "ndjson"
        ),
        bodiless=request_context.bodiless,
    )
    return cast("ASGIApp", answer)


async def _joined(pages: AsyncGenerator[list[str]]) -> AsyncGenerator[bytes]:
    async with aclosing(pages):
        async for page in pages:
            yield ("\n".join(page) + "\n").encode()


async def _ndjson(pages: Pages, shown: ShowWorkflow) -> AsyncGenerator[bytes]:
    names: dict[str, str] = {}
    async with aclosing(pages):
        async for page in pages:
            lines = [await with_workflows(as_lines(text), names, shown) for text in page.texts]
            names.clear()
            yield b"".join(lines)


async def _csv(pages: Pages) -> AsyncGenerator[bytes]:
    yield csv_head(HEADER).encode()
    async with aclosing(pages):
        async for page in pages:
            yield b"".join([printable_cells(text).encode() for text in page.texts])
