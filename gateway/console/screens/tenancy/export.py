"""The export of a tenant: a file with all of its data, sent while it is read."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from litestar import get
from litestar.params import FromPath
from litestar.types import ASGIApp

from gateway.console.download import session_download
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.read.export import export_tenant
from gateway.web.context import Injected

_NDJSON = "application/x-ndjson"


@get("/tenants/{slug:str}/export", opt={"scope": Scope.ADMIN_READ})
async def export(slug: FromPath[str], view: Injected[View]) -> ASGIApp:
    """NDJSON: one object per line, its `kind` first. Without secrets."""
    tenant = await get_tenant(view.deps, slug)
    lines = _lines(export_tenant(view.deps, tenant))
    return session_download(view, f"tenant-{tenant.slug}", _NDJSON, lines)


async def _lines(pages: AsyncGenerator[list[str]]) -> AsyncGenerator[bytes]:
    async with aclosing(pages):
        async for page in pages:
            yield ("\n".join(page) + "\n").encode()


HANDLERS = [export]
