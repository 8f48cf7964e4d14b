"""The export of a tenant: a file with all of its data, sent while it is read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.console.guards import require_session
from gateway.console.headers import page_headers
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.read.export import export_tenant
from gateway.web.context import Injected
from gateway.web.respond.csv import file_named
from gateway.web.respond.download import Download

_NDJSON = "application/x-ndjson"


@get("/tenants/{slug:str}/export", opt={"scope": Scope.ADMIN_READ})
async def export(slug: FromPath[str], view: Injected[View]) -> ASGIApp:
    """NDJSON: one object per line, its `kind` first. Without secrets."""
    tenant = await get_tenant(view.deps, slug)
    slots = view.deps.slots
    named = file_named(f"tenant-{tenant.slug}", view.deps.clock.now(), "ndjson")
    answer = Download(
        _NDJSON,
        _lines(view, export_tenant(view.deps, tenant)),
        view.context.exports,
        str(view.signed_in.id),
        lambda: slots.closing,
        headers={**page_headers(), **named},
        bodiless=view.request.bodiless,
    )
    return cast("ASGIApp", answer)


async def _lines(view: View, pages: AsyncGenerator[list[str]]) -> AsyncGenerator[bytes]:
    """The pages as text; it breaks off once the session has ended."""
    async with aclosing(pages):
        async for page in pages:
            await require_session(view)
            yield ("\n".join(page) + "\n").encode()


HANDLERS = [export]
