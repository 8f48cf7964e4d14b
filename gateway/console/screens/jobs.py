"""Jobs: the list, with its filters in the URL."""

from collections.abc import Sequence
from uuid import UUID

from litestar import Response, get

from gateway.console.links import JOBS, with_changes
from gateway.console.screens.job_filters import SPANS, STATUSES, JobsView, filter_of, is_filtered
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.text.cursor import PageCursor, encode_page
from gateway.flows.read.job_rows import JobRow, job_rows
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor

_SIZE = 50
_MOST_NEW = 100
_NONE = UUID(int=0)
_TOLD = {"cancelled": "The job is cancelled and deleted."}


class NewJobsView(JobsView):
    """A filter, and the newest job that the list shows."""

    after: UUID = _NONE


@get("/jobs", opt={"scope": Scope.JOBS_READ})
async def show_jobs(parameters: Injected[JobsView], view: Injected[View]) -> Response[bytes]:
    """One page of jobs, newest first."""
    wanted = await filter_of(view, parameters)
    cursor = read_cursor(parameters.cursor, view.deps.page_began())
    found = await job_rows(view.deps, wanted, cursor, _SIZE)
    return view.page(
        "jobs.html",
        found=found,
        given=parameters,
        spans=[(span, word, with_changes(view, span=span)) for span, word in SPANS.items()],
        statuses=[(one.value, with_changes(view, status=one.value)) for one in STATUSES],
        all_times=with_changes(view, span=""),
        all_statuses=with_changes(view, status=""),
        first=with_changes(view) if parameters.cursor else "",
        watch="" if parameters.cursor else _watch(view, found.rows),
        older=with_changes(view, cursor=encode_page(found.next, cursor.began))
        if found.next
        else "",
        is_filtered=is_filtered(parameters),
        told=_TOLD.get(parameters.told, ""),
    )


@get("/jobs/new", opt={"scope": Scope.JOBS_READ})
async def show_new_jobs(parameters: Injected[NewJobsView], view: Injected[View]) -> Response[bytes]:
    """How many jobs of a filter are newer than the list that somebody looks at."""
    wanted = await filter_of(view, parameters)
    rows = (await job_rows(view.deps, wanted, PageCursor(), _MOST_NEW)).rows
    new = sum(one.id > parameters.after for one in rows)
    return view.page(
        "jobs_new.html",
        count=f"{_MOST_NEW} or more" if new == _MOST_NEW else str(new or ""),
        watch=view.url,
        first=with_changes(view, view.at(JOBS), after=""),
    )


def _watch(view: View, rows: Sequence[JobRow]) -> str:
    """Where to ask for jobs that are newer than these."""
    after = rows[0].id if rows else _NONE
    return with_changes(view, view.at(f"{JOBS}/new"), after=str(after))


HANDLERS = [show_jobs, show_new_jobs]
