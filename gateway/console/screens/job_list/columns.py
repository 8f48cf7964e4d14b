"""The columns of the list of jobs: which there are, and which a URL chooses."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from litestar import Response, get

from gateway.console.links import JOBS, link, pairs_of
from gateway.console.screens.job_filters import JobsView
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.errors import BadRequest
from gateway.web.context import Injected

LABEL = "label:"
_LONGEST_KEY = 128
_MOST = 20


class JobColumn(NamedTuple):
    """A column; `look` is the class of its heading, and `label` the key of the metadata that it shows."""

    key: str
    heading: str
    look: str = ""
    label: str = ""


COLUMNS: Mapping[str, JobColumn] = {
    one.key: one
    for one in (
        JobColumn("accepted", "Accepted"),
        JobColumn("tenant", "Tenant"),
        JobColumn("name", "Name", "middle"),
        JobColumn("workflow", "Workflow", "middle"),
        JobColumn("state", "State"),
        JobColumn("why", "Why", "wide"),
        JobColumn("took", "Took", "number"),
        JobColumn("batch", "Batch", "middle"),
        JobColumn("upstream", "Upstream id", "middle"),
        JobColumn("ended", "Ended"),
        JobColumn("id", "Id"),
    )
}
_DEFAULT = ("accepted", "tenant", "name", "workflow", "state", "why", "took")


class ColumnsView(JobsView):
    """The columns that a form chooses, and the key of one more of the metadata."""

    add_label: str = ""


@get("/jobs/columns", opt={"scope": Scope.JOBS_READ})
async def choose_columns(
    parameters: Injected[ColumnsView], view: Injected[View]
) -> Response[bytes]:
    """Lead to the list with the columns of a form."""
    chosen = [one.key for one in columns_of(view, parameters.columns)]
    if parameters.add_label:
        chosen += [f"{LABEL}{parameters.add_label}"]
        columns_of(view, chosen)
    pairs = [*pairs_of(view, "columns", "addLabel"), *(("columns", key) for key in chosen)]
    return view.go(link(view.at(JOBS), *pairs))


def columns_of(view: View, keys: Sequence[str]) -> list[JobColumn]:
    """The columns of these keys, or the usual ones; none of the tenant in its portal. Raises BadRequest.

    One of them leads to the job: its name, if neither that nor the id is chosen.
    """
    found = [_column(key) for key in dict.fromkeys(keys or _DEFAULT)]
    if len(found) > _MOST:
        raise BadRequest.of("columns", f"has {len(found)} columns; at most {_MOST} are allowed")
    is_portal = view.signed_in.tenant is not None
    shown = [one for one in found if not (is_portal and one.key == "tenant")]
    leads = any(one.key in ("name", "id") for one in shown)
    return shown if leads else [COLUMNS["name"], *shown]


def offered(view: View, chosen: Sequence[JobColumn]) -> list[tuple[JobColumn, bool]]:
    """Each column that a form offers, and whether it is chosen."""
    is_portal = view.signed_in.tenant is not None
    known = [one for one in COLUMNS.values() if not (is_portal and one.key == "tenant")]
    return [(one, one in chosen) for one in [*known, *(one for one in chosen if one.label)]]


def _column(key: str) -> JobColumn:
    if key in COLUMNS:
        return COLUMNS[key]
    label = key.removeprefix(LABEL)
    if label == key or not 1 <= len(label) <= _LONGEST_KEY:
        known = ", ".join(COLUMNS)
        reason = f"must be one of {known}, or {LABEL}KEY with a key of the metadata"
        raise BadRequest.of("columns", reason)
    return JobColumn(key, label, "middle", label)


HANDLERS = [choose_columns]
