"""The export of the list of jobs: all jobs of its filter as CSV or NDJSON, as the API sends them."""

from functools import partial
from typing import Literal

from litestar import get
from litestar.types import ASGIApp

from gateway.console.download import session_download
from gateway.console.screens.job_filters import JobsView, filter_of
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.web.context import Injected
from gateway.web.routes.jobs.export import jobs_as
from gateway.web.routes.jobs.workflow_forms import workflow_json


class ExportView(JobsView, kw_only=True):
    """The filter, and the format of the file."""

    format: Literal["csv", "ndjson"]


@get("/jobs/export", opt={"scope": Scope.JOBS_READ})
async def export_jobs(parameters: Injected[ExportView], view: Injected[View]) -> ASGIApp:
    """The file, sent while it is read."""
    media_type, chunks = jobs_as(
        view.deps,
        parameters.format,
        wanted=await filter_of(view, parameters),
        before=None,
        shown=partial(workflow_json, view.context, view.path),
    )
    return session_download(view, "jobs", media_type, chunks)


HANDLERS = [export_jobs]
