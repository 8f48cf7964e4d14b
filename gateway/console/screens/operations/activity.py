"""Activity: who did what to what, from what to what, and when."""

from typing import Annotated

from litestar import Response, get
from msgspec import Meta

from gateway.console.links import with_changes
from gateway.console.screens.acts import acts_of
from gateway.console.screens.job_filters import SPANS, Span, bounds
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.text.cursor import encode_page
from gateway.flows.admin.audit import ACTIONS, list_audit
from gateway.store.tenancy.audit import AuditFilter
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor
from gateway.web.schemas.requests import In
from gateway.web.schemas.timestamps import Instant, plain

_SIZE = 50


class ActivityView(In):
    """Which acts the list shows; an actor is the id or the name of a key."""

    tenant: Annotated[str, Meta(max_length=63)] = ""
    actor: Annotated[str, Meta(max_length=200)] = ""
    action: Annotated[str, Meta(max_length=64)] = ""
    span: Span | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    cursor: Annotated[str, Meta(max_length=100)] = ""


@get("/activity", opt={"scope": Scope.ADMIN_READ})
async def show_activity(
    parameters: Injected[ActivityView], view: Injected[View]
) -> Response[bytes]:
    """One page of acts, newest first."""
    wanted = _filter(view, parameters)
    cursor = read_cursor(parameters.cursor, view.deps.page_began())
    found = await list_audit(view.deps, wanted, cursor, _SIZE + 1)
    page = found[:_SIZE]
    return view.page(
        "operations/activity.html",
        acts=acts_of(page),
        given=parameters,
        actions=ACTIONS,
        spans=[(span, word, with_changes(view, span=span)) for span, word in SPANS.items()],
        all_times=with_changes(view, span=""),
        first=with_changes(view) if parameters.cursor else "",
        older=with_changes(view, cursor=encode_page(page[-1].id, cursor.began))
        if len(found) > _SIZE
        else "",
        is_filtered=wanted != AuditFilter(),
    )


def _filter(view: View, given: ActivityView) -> AuditFilter:
    own = view.signed_in.tenant
    after, before = bounds(given.span, view.deps.clock.now())
    return AuditFilter(
        own.slug if own else given.tenant or None,
        (given.action,) if given.action else (),
        (given.actor,) if given.actor else (),
        plain(given.created_after) if given.created_after else after,
        plain(given.created_before) if given.created_before else before,
    )


HANDLERS = [show_activity]
