"""Jobs: the list, with its filters in the URL."""

from urllib.parse import parse_qsl, urlencode

from litestar import Response, get

from gateway.console.screens.job_filters import SPANS, STATUSES, JobsView, filter_of, is_filtered
from gateway.console.view import HOME, View
from gateway.core.model import Scope
from gateway.core.text.cursor import encode_cursor
from gateway.flows.read.job_rows import job_rows
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor

PATH = f"{HOME}/jobs"
_SIZE = 50
_TOLD = {"cancelled": "The job is cancelled and deleted."}


@get("/jobs", opt={"scope": Scope.JOBS_READ})
async def show_jobs(parameters: Injected[JobsView], view: Injected[View]) -> Response[bytes]:
    """One page of jobs, newest first."""
    wanted = await filter_of(view, parameters)
    found = await job_rows(view.deps, wanted, read_cursor(parameters.cursor), _SIZE)
    return view.page(
        "jobs.html",
        found=found,
        given=parameters,
        spans=[(span, word, _with(view, span=span)) for span, word in SPANS.items()],
        statuses=[(one.value, _with(view, status=one.value)) for one in STATUSES],
        all_times=_with(view, span=""),
        all_statuses=_with(view, status=""),
        first=_with(view) if parameters.cursor else "",
        older=_with(view, cursor=encode_cursor(found.next)) if found.next else "",
        is_filtered=is_filtered(parameters),
        told=_TOLD.get(parameters.told, ""),
    )


def _with(view: View, **changes: str) -> str:
    """This view's URL with other values; the page starts anew."""
    query = view.request.query.decode("latin-1")
    gone = {*changes, "cursor", "told"}
    kept = [pair for pair in parse_qsl(query) if pair[0] not in gone]
    pairs = [*kept, *((name, value) for name, value in changes.items() if value)]
    return f"{PATH}?{urlencode(pairs)}" if pairs else PATH


HANDLERS = [show_jobs]
