"""Saved views of the list of jobs: a filter and columns by name, for a person, all of the staff or a tenant."""

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.links import JOBS, Told, link, pairs_of
from gateway.console.screens.job_filters import JobsView
from gateway.console.screens.job_list.columns import columns_of
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.admin.saved_views import (
    LONGEST_NAME,
    MOST,
    SavedView,
    ViewOwner,
    change_view,
    delete_view,
    known_views,
    save_view,
)
from gateway.web.context import Injected
from gateway.web.parse.query_string import read_query
from gateway.web.schemas.requests import In

VIEWS = f"{JOBS}/views"
_READS = {"scope": Scope.JOBS_READ}
_TOLD = {
    "saved": "The view is saved.",
    "changed": "The view is changed.",
    "deleted": "The view is deleted.",
}


class ViewsView(In):
    """What was just done."""

    told: Told = ""


class ViewChip(NamedTuple):
    """A saved view as a link; `is_own` if it can be changed."""

    view: SavedView
    href: str
    is_current: bool
    is_own: bool


async def view_chips(view: View) -> list[ViewChip]:
    """The views that the person sees, their own first."""
    known, here = await known_views(view.deps, owner_of(view)), query_of(view)
    return [
        ViewChip(one, link(view.at(JOBS), *parse_qsl(one.query)), one.query == here, is_own)
        for views, is_own in ((known.own, True), (known.shared, False))
        for one in views
    ]


def query_of(view: View) -> str:
    """The query that a saved view of this page has; of a portal it names no tenant."""
    is_portal = view.signed_in.tenant is not None
    return urlencode(pairs_of(view, *(("tenant",) if is_portal else ())))


def owner_of(view: View) -> ViewOwner:
    """Whose views these are: those of the portal's tenant, or of the person by name."""
    own = view.signed_in.tenant
    return ViewOwner(None, view.signed_in.who) if own is None else ViewOwner(own.id, "")


def may_keep(view: View) -> bool:
    """Whether the session may change views; in a portal they are those of everybody there."""
    return view.signed_in.tenant is None or view.may(Scope.SUPPORT)


@get("/jobs/views", opt=_READS)
async def show_views(parameters: Injected[ViewsView], view: Injected[View]) -> Response[bytes]:
    """All saved views, to be renamed, shared and deleted."""
    return view.page(
        "job_list/views.html",
        chips=await view_chips(view),
        told=_TOLD.get(parameters.told, ""),
        most=MOST,
        longest_name=LONGEST_NAME,
        may_keep=may_keep(view),
        path=view.at(VIEWS),
    )


@post("/jobs/views", status_code=200, opt=_READS)
async def keep_view(view: Injected[View]) -> Response[bytes]:
    """Save the view that a form names, or replace the one of that name, and show it."""
    _require_keeper(view)
    query = _checked(view, view.form.get("query", ""))
    stored = await save_view(
        view.deps,
        view.signed_in.actor,
        owner_of(view),
        name=view.form.get("name", ""),
        query=query,
        is_shared="shared" in view.form,
    )
    return view.go(link(view.at(JOBS), *parse_qsl(stored.query), told="saved"))


@post("/jobs/views/{view_id:uuid}", status_code=200, opt=_READS)
async def rename_view(view_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Rename a view, and share it or not."""
    _require_keeper(view)
    await change_view(
        view.deps,
        view.signed_in.actor,
        owner_of(view),
        view_id,
        name=view.form.get("name", ""),
        is_shared="shared" in view.form,
    )
    return view.go(link(view.at(VIEWS), told="changed"))


@post("/jobs/views/{view_id:uuid}/delete", status_code=200, opt=_READS)
async def forget_view(view_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Delete a view."""
    _require_keeper(view)
    await delete_view(view.deps, view.signed_in.actor, owner_of(view), view_id)
    return view.go(link(view.at(VIEWS), told="deleted"))


def _checked(view: View, query: str) -> str:
    """The query as it is kept, if the list can show it; raises BadRequest."""
    gone = {"cursor", "told", *(("tenant",) if view.signed_in.tenant else ())}
    kept = urlencode([pair for pair in parse_qsl(query) if pair[0] not in gone])
    columns_of(view, read_query(JobsView, kept.encode()).columns)
    return kept


def _require_keeper(view: View) -> None:
    if not may_keep(view):
        view.require(Scope.SUPPORT)


HANDLERS = [show_views, keep_view, rename_view, forget_view]
