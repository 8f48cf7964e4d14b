"""The filters of the list of jobs as they stand in its URL, and presets for them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Literal

from msgspec import Meta, field, structs

from gateway.console.view import View
from gateway.core.model import STATUS_STATES
from gateway.errors import BadRequest
from gateway.flows.admin.tenants import tenant_ids
from gateway.store.job_search.filter import JobFilter
from gateway.web.schemas.requests import Choice, In, Statuses
from gateway.web.schemas.requests import Status as StatusWord
from gateway.web.schemas.timestamps import Instant, plain

Span = Literal["hour", "night", "today", "week"]
SPANS: Mapping[Span, str] = {
    "hour": "last hour",
    "night": "last night",
    "today": "today",
    "week": "7 days",
}
_MORNING, _EVENING = 8, 18


class JobsView(In):
    """Which jobs the list shows, and how; a label is `key=value` of their metadata."""

    status: Statuses = field(default_factory=list[StatusWord])
    tenant: Choice = field(default_factory=list[str])
    workflow: Choice = field(default_factory=list[str])
    error_code: Choice = field(default_factory=list[str])
    batch_name: Choice = field(default_factory=list[str])
    name: Choice = field(default_factory=list[str])
    label: Choice = field(default_factory=list[str])
    span: Span | None = None
    created_after: Instant | None = None
    created_before: Instant | None = None
    columns: Choice = field(default_factory=list[str])
    live: Literal["off"] | None = None
    cursor: Annotated[str, Meta(max_length=100)] = ""
    told: Annotated[str, Meta(max_length=20)] = ""


async def filter_of(view: View, given: JobsView, now: datetime | None = None) -> JobFilter:
    """The filter for what the session may see, as of a moment (None: now); raises BadRequest."""
    own = view.signed_in.tenant
    tenants = (own.id,) if own else None
    if own is None and given.tenant:
        tenants = tuple(await tenant_ids(view.deps, given.tenant))
    after, before = bounds(given.span, now or view.deps.clock.now())
    return JobFilter(
        tenants=tenants,
        states=tuple(state.value for status in given.status for state in STATUS_STATES[status]),
        workflows=tuple(given.workflow),
        batch_names=tuple(given.batch_name),
        names=tuple(given.name),
        error_codes=tuple(given.error_code),
        metadata=tuple(map(_label, given.label)),
        created_after=plain(given.created_after) if given.created_after else after,
        created_before=plain(given.created_before) if given.created_before else before,
    )


def bounds(span: Span | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """The times of a preset, in UTC; the night is from 18:00 to 08:00."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match span:
        case "hour":
            return now - timedelta(hours=1), None
        case "today":
            return today, None
        case "week":
            return now - timedelta(days=7), None
        case "night":
            day = today if now.hour >= _MORNING else today - timedelta(days=1)
            return day - timedelta(hours=24 - _EVENING), day + timedelta(hours=_MORNING)
        case None:
            return None, None


def _label(text: str) -> tuple[str, tuple[str, ...]]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise BadRequest.of("label", "must be key=value of the metadata")
    return key, (value,)


def is_filtered(given: JobsView) -> bool:
    """Whether anything is chosen but the page and how it looks."""
    return structs.replace(given, cursor="", told="", columns=[], live=None) != JobsView()


STATUSES = tuple(StatusWord)
