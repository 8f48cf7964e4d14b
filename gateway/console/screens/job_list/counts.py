"""Counts of the list of jobs: by status and by error code, each a link to its jobs."""

from collections.abc import Sequence
from typing import NamedTuple

from litestar import Response, get

from gateway.console.links import JOBS, with_changes
from gateway.console.screens.job_filters import JobsView, filter_of
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.read.job_tally import MOST, Tally, job_tallies
from gateway.web.context import Injected


class ShownCount(NamedTuple):
    """How many jobs of the filter have a status or a code, in words, and where they are listed."""

    key: str
    words: str
    href: str


@get("/jobs/counts", opt={"scope": Scope.JOBS_READ})
async def show_counts(parameters: Injected[JobsView], view: Injected[View]) -> Response[bytes]:
    """The counts of a filter: a page of its own, of which the list shows a part once it is there."""
    found = await job_tallies(view.deps, await filter_of(view, parameters))
    return view.page(
        "job_list/counts.html",
        statuses=_shown(view, "status", found.statuses),
        error_codes=_shown(view, "errorCode", found.error_codes),
        most=MOST,
        back=with_changes(view, view.at(JOBS)),
    )


def _shown(view: View, name: str, found: Sequence[Tally]) -> list[ShownCount]:
    to = view.at(JOBS)
    return [
        ShownCount(one.key, _words(one), with_changes(view, to, **{name: one.key})) for one in found
    ]


def _words(one: Tally) -> str:
    if one.jobs > MOST:
        return f"more than {MOST:,}"
    return f"{one.jobs:,} or more" if one.is_floor else f"{one.jobs:,}"


HANDLERS = [show_counts]
