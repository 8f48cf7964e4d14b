"""Jobs: the list, with its filters in the URL."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from litestar import Response, get

from gateway.console.links import JOBS, pairs_of, with_changes
from gateway.console.screens.job_filters import SPANS, STATUSES, JobsView, filter_of, is_filtered
from gateway.console.screens.job_list import columns, counts, export, saved_views, selection
from gateway.console.screens.job_list.columns import columns_of, offered
from gateway.console.screens.job_list.saved_views import may_keep, query_of, view_chips
from gateway.console.screens.webhooks.bulk import OperationRow, operation_rows
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.text.cursor import PageCursor, encode_page
from gateway.flows.bulk import jobs as bulk_jobs
from gateway.flows.bulk.lists import OperationFilter, operations
from gateway.flows.read.job_rows import JobRow, job_rows
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor

_SIZE = 50
_MOST_NEW = 100
_MOST_RUNNING = 20
_NONE = UUID(int=0)
_OF_JOBS = bulk_jobs.KINDS | {bulk_jobs.RESEND}
_TOLD = {"cancelled": "The job is cancelled and deleted.", "saved": "The view is saved."}


class NewJobsView(JobsView):
    """A filter, and the newest job that the list shows."""

    after: UUID = _NONE


@get("/jobs", opt={"scope": Scope.JOBS_READ})
async def show_jobs(parameters: Injected[JobsView], view: Injected[View]) -> Response[bytes]:
    """One page of jobs, newest first."""
    wanted = await filter_of(view, parameters)
    cursor = read_cursor(parameters.cursor, view.deps.page_began())
    chosen = columns_of(view, parameters.columns)
    keys = [one.label for one in chosen if one.label]
    found, running, chips = await asyncio.gather(
        job_rows(view.deps, wanted, cursor, _SIZE, keys), _running(view), view_chips(view)
    )
    is_live = not parameters.cursor and parameters.live is None
    return view.page(
        "jobs.html",
        found=found,
        given=parameters,
        columns=chosen,
        offered=offered(view, chosen),
        chips=chips,
        may_keep=may_keep(view),
        query=query_of(view),
        kept=pairs_of(view),
        spans=[(span, word, with_changes(view, span=span)) for span, word in SPANS.items()],
        statuses=[(one.value, with_changes(view, status=one.value)) for one in STATUSES],
        all_times=with_changes(view, span=""),
        all_statuses=with_changes(view, status=""),
        first=with_changes(view) if parameters.cursor else "",
        watch=_watch(view, found.rows) if is_live else "",
        running=running,
        toggle_live=with_changes(view, live="off" if parameters.live is None else ""),
        counts=with_changes(view, view.at(f"{JOBS}/counts")),
        exports=[
            (form, with_changes(view, view.at(f"{JOBS}/export"), format=form.lower()))
            for form in ("CSV", "NDJSON")
        ],
        acts=[
            (act, with_changes(view, view.at(f"{JOBS}/act"), act=act))
            for act in ("retry", "cancel", "resend")
        ],
        older=with_changes(view, cursor=encode_page(found.next, cursor.began))
        if found.next
        else "",
        is_filtered=is_filtered(parameters),
        told=_TOLD.get(parameters.told, ""),
    )


@get("/jobs/new", opt={"scope": Scope.JOBS_READ})
async def show_new_jobs(parameters: Injected[NewJobsView], view: Injected[View]) -> Response[bytes]:
    """How many jobs of a filter are newer than the list that somebody looks at, and which operations run."""
    wanted = await filter_of(view, parameters)
    found, running = await asyncio.gather(
        job_rows(view.deps, wanted, PageCursor(), _MOST_NEW), _running(view)
    )
    new = sum(one.id > parameters.after for one in found.rows)
    return view.page(
        "jobs_new.html",
        count=f"{_MOST_NEW} or more" if new == _MOST_NEW else str(new or ""),
        watch=view.url,
        first=with_changes(view, view.at(JOBS), after=""),
        running=running,
    )


async def _running(view: View) -> list[OperationRow]:
    """The operations on jobs that run now, whoever began them."""
    own = view.signed_in.tenant
    wanted = OperationFilter(own.id if own else None, state="running")
    found = await operations(view.deps, wanted, None, _MOST_RUNNING)
    return await operation_rows(view, [one for one in found if one.kind in _OF_JOBS])


def _watch(view: View, rows: Sequence[JobRow]) -> str:
    """Where to ask for jobs that are newer than these."""
    after = rows[0].id if rows else _NONE
    return with_changes(view, view.at(f"{JOBS}/new"), after=str(after))


HANDLERS = [
    show_jobs,
    show_new_jobs,
    *counts.HANDLERS,
    *columns.HANDLERS,
    *saved_views.HANDLERS,
    *export.HANDLERS,
    *selection.HANDLERS,
]
