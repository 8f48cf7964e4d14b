"""Acts on many jobs: on rows that were ticked, or on all that match. First the count, then the operation.

An operation acts on what its page counted: jobs that were accepted later stay, and if there are more of them
when the form arrives, the page counts again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from litestar import Response, get, post
from msgspec import field

from gateway.console.links import BULK, JOBS, pairs_of, with_changes
from gateway.console.screens.job_filters import JobsView, filter_of
from gateway.console.screens.webhooks.recover import noted_start, read_time
from gateway.console.show.words import machine
from gateway.console.view import View
from gateway.core.model import STATUS_STATES, TERMINAL, JobState, Scope, Tenant
from gateway.core.text.cursor import PageCursor
from gateway.errors import BadRequest, NotFound, TenantSuspended
from gateway.flows.admin.tenants import get_tenant
from gateway.flows.bulk.deliveries import find_operation
from gateway.flows.bulk.jobs import cancel_jobs, resend_webhooks, retry_jobs
from gateway.flows.bulk.start import DryRun
from gateway.flows.read.job_rows import JobRow, job_rows
from gateway.store.job_search.filter import JobFilter
from gateway.store.work.bulk_operations import Operation
from gateway.web.context import Injected
from gateway.web.schemas.requests import MAX_VALUES, JobIds

Act = Literal["retry", "cancel", "resend"]
# To cancel more jobs than this, the number has to be typed.
MOST_AT_ONCE = 100
_ENDED = frozenset(state.value for state in TERMINAL)
_OPEN = frozenset(state.value for state in JobState) - _ENDED
_FAILED = (JobState.FAILED.value, JobState.EXPIRED.value)
_SUPPORT = {"scope": Scope.SUPPORT}
_Begin = Callable[..., Awaitable[Operation | DryRun]]
_BEGIN: dict[Act, _Begin] = {"retry": retry_jobs, "cancel": cancel_jobs, "resend": resend_webhooks}
# Which states an act can change, and which it changes if none are chosen.
_STATES: dict[Act, tuple[frozenset[str], tuple[str, ...]]] = {
    "retry": (_ENDED, _FAILED),
    "cancel": (_OPEN, tuple(sorted(_OPEN))),
    "resend": (_ENDED | _OPEN, ()),
}
_PAGE = 50


class ActView(JobsView, kw_only=True):
    """What is to be done, and with which jobs: those of the ids, or else all of the filter."""

    act: Act
    id: JobIds = field(default_factory=list[UUID])


class Selected(NamedTuple):
    """The jobs of an act as of a moment, all of one tenant."""

    tenant: Tenant
    wanted: JobFilter
    rows: Sequence[JobRow]  # of ids, to be shown


@get("/jobs/act", opt=_SUPPORT)
async def count_act(parameters: Injected[ActView], view: Injected[View]) -> Response[bytes]:
    """How many jobs there are at this moment, what would happen to them, and the button."""
    now = view.deps.clock.now()
    selected = await _selected(view, parameters, now)
    if not isinstance(selected, Selected):
        return _ask_for_tenant(view, parameters, selected)
    return await _count_page(view, parameters, selected, now)


@post("/jobs/act", status_code=200, opt=_SUPPORT)
async def begin_act(parameters: Injected[ActView], view: Injected[View]) -> Response[bytes]:
    """Begin the operation on what was counted, and show its progress; a form that is sent twice begins one."""
    counted_at, once, counted = (
        read_time(view, "until"),
        _id(view, "once"),
        _number(view, "counted"),
    )
    selected = await _selected(view, parameters, counted_at)
    if not isinstance(selected, Selected):
        raise BadRequest.of("tenant", "must be one tenant")
    tenant, wanted, _ = selected
    if await _has_begun(view, tenant, once):
        return view.go(view.at(f"{BULK}/{once}"))
    begin = _BEGIN[parameters.act]
    found = await begin(view.deps, tenant.id, wanted, dry_run=True)
    if isinstance(found, DryRun) and found.count > counted:
        return await _count_page(view, parameters, selected, counted_at, before=counted)
    if _is_dangerous(parameters, counted) and view.form.get("typed", "").strip() != str(counted):
        fault = f"Type {counted} to go on."
        return await _count_page(view, parameters, selected, counted_at, fault=fault)
    begun = await begin(view.deps, tenant.id, wanted, once=once)
    return view.go(await noted_start(view, tenant.id, begun))


async def _count_page(
    view: View,
    given: ActView,
    selected: Selected,
    at: datetime,
    *,
    before: int | None = None,
    fault: str = "",
) -> Response[bytes]:
    tenant, wanted, rows = selected
    counted = await _BEGIN[given.act](view.deps, tenant.id, wanted, dry_run=True)
    number = counted.count if isinstance(counted, DryRun) else counted.total
    chosen = pairs_of(view, "act", "id", "columns", "live", "tenant")
    return view.page(
        "job_list/act.html",
        status=400 if fault else 200,
        given=given,
        tenant=tenant,
        number=number,
        before=before,
        rows=rows,
        chosen=[] if given.id else chosen,
        is_usual=not given.id and not given.status,
        counted_at=at,
        seconds=number / view.deps.policy.bulk_rate,
        typed=number if _is_dangerous(given, number) else None,
        fault=fault,
        path=view.url,
        back=_back(view),
        fields={
            "until": machine(at),
            "once": str(view.deps.ids.uuid()),
            "counted": str(number),
        },
    )


def _ask_for_tenant(view: View, given: ActView, rows: Sequence[JobRow]) -> Response[bytes]:
    """A page that says which tenants there are: an operation is on the jobs of one."""
    slugs = sorted({one.tenant for one in rows})
    return view.page(
        "job_list/choose_tenant.html",
        given=given,
        tenants=[(slug, with_changes(view, tenant=slug)) for slug in slugs],
        back=_back(view),
    )


async def _selected(view: View, given: ActView, at: datetime) -> Selected | Sequence[JobRow]:
    """The jobs of an act, or rows of several tenants, of which one must be chosen.

    Raises BadRequest, NotFound, TenantSuspended.
    """
    wanted = await filter_of(view, given, at)
    if given.id:
        wanted = JobFilter(wanted.tenants, ids=tuple(given.id))
    tenant = view.signed_in.tenant
    rows: Sequence[JobRow] = ()
    if given.id or (tenant is None and len(given.tenant) != 1):
        size = MAX_VALUES if given.id else _PAGE
        rows = (await job_rows(view.deps, wanted, PageCursor(), size)).rows
    if given.id and not rows:
        raise NotFound("None of these jobs is there any more. Load the list again.")
    if tenant is None:
        slugs = given.tenant or (sorted({one.tenant for one in rows}) if given.id else [])
        if len(slugs) != 1:
            return rows
        tenant = await get_tenant(view.deps, slugs[0])
    if tenant.suspended_at is not None:
        raise TenantSuspended("The tenant is suspended. Only an operator can resume it.")
    before = min(wanted.created_before or at, at)
    wanted = replace(wanted, states=_states(given), created_before=before)
    return Selected(tenant, wanted, [one for one in rows if one.tenant == tenant.slug])


def _states(given: ActView) -> tuple[str, ...]:
    """The states of jobs that an act changes; raises BadRequest if those chosen leave none."""
    possible, usual = _STATES[given.act]
    if given.id:
        return tuple(sorted(possible))
    chosen = [state for status in given.status for state in STATUS_STATES[status.value]]
    if not chosen:
        return usual
    left = tuple(state for state in chosen if state in possible)
    if not left:
        which = "have ended can be retried" if given.act == "retry" else "are open can be cancelled"
        raise BadRequest.of("status", f"only jobs that {which}; choose another status")
    return left


def _is_dangerous(given: ActView, number: int) -> bool:
    return given.act == "cancel" and not given.id and number > MOST_AT_ONCE


async def _has_begun(view: View, tenant: Tenant, operation_id: UUID) -> bool:
    try:
        await find_operation(view.deps, tenant.id, operation_id)
    except NotFound:
        return False
    return True


def _back(view: View) -> str:
    return with_changes(view, view.at(JOBS), act="", id="")


def _id(view: View, name: str) -> UUID:
    try:
        return UUID(view.form.get(name, ""))
    except ValueError:
        raise BadRequest.of(name, "is not an id; load the page again") from None


def _number(view: View, name: str) -> int:
    text = view.form.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # noqa: PLR2004 - more than any count
        raise BadRequest.of(name, "is not a number; load the page again")
    return int(text)


HANDLERS = [count_act, begin_act]
