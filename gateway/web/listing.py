"""GET /job: a tenant's history, or that of all tenants a service key may see."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from litestar import Response, get

from gateway.core.cursor import BadCursorError, decode_cursor, encode_cursor
from gateway.core.events import job_json
from gateway.core.model import STATUS_STATES, Job, Scope
from gateway.errors import BadRequest
from gateway.flows.deps import Deps
from gateway.store import history, tenants
from gateway.store.history import JobFilter
from gateway.web.answer import JSON
from gateway.web.context import AnyRequest, Context, Handed
from gateway.web.envelope import Caller
from gateway.web.shown import JobOut, described
from gateway.web.wire import JobsQuery
from gateway.web.workflow import shown_workflow

_DEEPEST = 10_000


@get(
    "/job",
    opt={"scope": Scope.JOBS_READ, "query": JobsQuery, "across": True},
    responses=described(list[JobOut]),
    summary="List jobs, newest first",
)
async def list_jobs(
    asked: Handed[JobsQuery], caller: Handed[Caller], context: Handed[Context], request: AnyRequest
) -> Response[bytes]:
    """A bare array; the header Link names the next page whenever there is one."""
    before, offset = _place(asked)
    visible = await visible_tenants(context.deps, caller, asked.tenant)
    async with context.deps.db.single() as tx:
        found = await history.page(
            tx, _filter(asked, visible), before=before, offset=offset, limit=asked.size + 1
        )
    page = found[: asked.size]
    headers = {"Link": _next_link(request, page[-1].id)} if len(found) > asked.size else {}
    body = await _rendered(context, request.scope["path"], page)
    return Response(body, media_type=JSON, headers=headers)


async def visible_tenants(
    deps: Deps, caller: Caller, wanted: Sequence[str]
) -> tuple[UUID, ...] | None:
    """The tenants that a caller reads, narrowed to slugs where some are given; None means all."""
    allowed = (caller.tenant.id,) if caller.tenant else caller.key.tenants
    if not wanted:
        return None if allowed is None else tuple(allowed)
    async with deps.db.single() as tx:
        found = (await tenants.ids_of(tx, wanted)).values()
    return tuple(one for one in found if allowed is None or one in allowed)


def read_cursor(text: str) -> UUID | None:
    """The id that a cursor stands for, None where there is no cursor; raises BadRequest."""
    if not text:
        return None
    try:
        return decode_cursor(text)
    except BadCursorError:
        reason = "is not a cursor of this list; start without one and follow the header Link"
        raise BadRequest.of("cursor", reason) from None


def _place(asked: JobsQuery) -> tuple[UUID | None, int]:
    before, offset = read_cursor(asked.cursor), asked.page * asked.size
    if before is not None and asked.page:
        raise BadRequest.of("page", "cannot be combined with cursor")
    if offset + asked.size > _DEEPEST and asked.page:
        reason = f"reaches beyond {_DEEPEST} jobs; follow the cursor in the header Link instead"
        raise BadRequest.of("page", reason)
    return before, offset


def _filter(asked: JobsQuery, visible: tuple[UUID, ...] | None) -> JobFilter:
    return JobFilter(
        tenants=visible,
        states=tuple(state for status in asked.status for state in STATUS_STATES[status]),
        workflows=tuple(asked.workflow),
        batch_names=tuple(asked.batch_name),
        names=tuple(asked.name),
        error_codes=tuple(asked.error_code),
        metadata=tuple((key, tuple(values)) for key, values in asked.metadata.items()),
        created_after=asked.created_after,
        created_before=asked.created_before,
        completed_after=asked.completed_after,
        completed_before=asked.completed_before,
    )


def _next_link(request: AnyRequest, last: UUID) -> str:
    given = parse_qsl(request.scope["query_string"].decode(), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in ("page", "cursor")]
    query = urlencode([*kept, ("cursor", encode_cursor(last))])
    return f'<{request.scope["path"]}?{query}>; rel="next"'


async def _rendered(context: Context, path: str, page: Sequence[Job]) -> bytes:
    texts = [job_json(job, workflow=await shown_workflow(context, path, job)) for job in page]
    return f"[{','.join(texts)}]".encode()
