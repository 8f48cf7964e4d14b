"""Usage: how many jobs ended in a month, how, and how long they took; as a chart, a table and CSV."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from litestar import Response, get
from litestar.types import ASGIApp
from msgspec import Meta

from gateway.console.screens.operations.day_bars import DayBar, day_bars
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.errors import BadRequest
from gateway.flows.admin.tenants import tenant_ids
from gateway.flows.settle.usage import Group, UsageOnly, read_usage
from gateway.web.context import Injected
from gateway.web.routes.usage import usage_csv
from gateway.web.schemas.requests import In

_READS = {"scope": Scope.USAGE_READ}
_FILES = (("day", "CSV by day"), ("workflow", "CSV by workflow"), ("tenant", "CSV by tenant"))
_MONTHS_SHOWN = 25
_MOST_CODES = 10
_CSV_GROUPS = {"day": ("day",), "tenant": ("tenant",), "workflow": ("workflow", "status")}


class UsageView(In):
    """Which jobs of which month are summed; the present month by default."""

    month: Annotated[str, Meta(max_length=7)] = ""
    tenant: Annotated[str, Meta(max_length=63)] = ""
    workflow: Annotated[str, Meta(max_length=256)] = ""
    status: Literal["SUCCEEDED", "FAILED"] | None = None


class UsageFile(UsageView):
    """By what the rows of the file are grouped."""

    by: Literal["day", "tenant", "workflow"] = "day"


class Month(NamedTuple):
    """A month in UTC; `until` is the first moment after it."""

    since: datetime
    until: datetime

    @property
    def text(self) -> str:
        """The month as it is written in URLs."""
        return f"{self.since:%Y-%m}"


@get("/usage", opt=_READS)
async def show_usage(parameters: Injected[UsageView], view: Injected[View]) -> Response[bytes]:
    """The usage of one month."""
    now = view.deps.clock.now()
    month = month_of(parameters.month, now)
    visible = await _visible(view, parameters.tenant)
    read = view.context.usage_days.read
    days, total = await read(visible, month.since, month.until, only=_only(parameters))
    return view.page(
        "operations/usage.html",
        given=parameters,
        month=month,
        months=_months(month, now),
        total=total,
        run_hours=_run_hours(total),
        files=_FILES[: None if view.signed_in.tenant is None else -1],
        codes=_codes(total),
        days=[(day, _run_hours(day)) for day in days],
        bars=_bars(days, month, now),
        query="&".join(
            part for part in view.request.query.decode("latin-1").split("&") if part[-1:] != "="
        ),
    )


@get("/usage.csv", opt=_READS)
async def usage_file(parameters: Injected[UsageFile], view: Injected[View]) -> ASGIApp:
    """The same as CSV."""
    month = month_of(parameters.month, view.deps.clock.now())
    groups = _CSV_GROUPS[parameters.by]
    return await usage_csv(view.context, groups, await _read(view, parameters, month, groups))


def month_of(text: str, now: datetime) -> Month:
    """The month that a URL names, or the present one; raises BadRequest."""
    try:
        since = datetime.strptime(text, "%Y-%m") if text else now  # noqa: DTZ007 - made UTC below
    except ValueError:
        raise BadRequest.of("month", "must be a month such as 2026-11") from None
    since = datetime(since.year, since.month, 1, tzinfo=UTC)
    try:
        return Month(since, (since + timedelta(days=31)).replace(day=1))
    except OverflowError:
        raise BadRequest.of("month", "is too far in the future") from None


async def _read(view: View, given: UsageView, month: Month, groups: tuple[str, ...]) -> list[Group]:
    visible = await _visible(view, given.tenant)
    turn, only = view.context.usage_lock, _only(given)
    return await read_usage(
        view.deps, groups, visible, month.since, month.until, turn=turn, only=only
    )


def _only(given: UsageView) -> UsageOnly:
    return UsageOnly(
        (given.workflow,) if given.workflow else (), (given.status,) if given.status else ()
    )


async def _visible(view: View, slug: str) -> Sequence[UUID] | None:
    """The tenants whose usage is summed; None for all."""
    if view.signed_in.tenant is not None:
        return (view.signed_in.tenant.id,)
    return await tenant_ids(view.deps, [slug]) if slug else None


def _months(shown: Month, now: datetime) -> list[str]:
    """The months to choose from: the last ones, and the one that is shown."""
    found, month = [shown.text], month_of("", now)
    for _ in range(_MONTHS_SHOWN):
        found.append(month.text)
        month = month_of("", month.since - timedelta(days=1))
    return sorted(set(found), reverse=True)


def _run_hours(group: Group | None) -> float:
    """How long jobs ran at the upstream, all together."""
    return 0.0 if group is None or group.run is None else group.run.mean * group.submitted / 3600


def _codes(total: Group | None) -> list[tuple[str, int]]:
    codes = {} if total is None else total.failed_by_code
    return sorted(codes.items(), key=lambda one: -one[1])[:_MOST_CODES]


def _bars(days: Sequence[Group], month: Month, now: datetime) -> Sequence[DayBar]:
    found = {one.by[0]: (one.succeeded, one.failed) for one in days}
    dates = days_so_far(month, now)
    whole = (month.until - month.since).days
    return day_bars([(date, *found.get(date, (0, 0))) for date in dates], whole)


def days_so_far(month: Month, now: datetime) -> list[datetime]:
    """The days of a month up to today; none of one that is still to come."""
    whole = (month.until - month.since).days
    begun = (now - month.since).days + 1
    return [month.since + timedelta(days=n) for n in range(min(max(begun, 0), whole))]


HANDLERS = [show_usage, usage_file]
