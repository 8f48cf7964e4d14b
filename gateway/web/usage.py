"""GET /usage: what was done for whom, as JSON or CSV."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache

import msgspec
from litestar import Response, get

from gateway.core.model import Scope
from gateway.flows import usage
from gateway.flows.deps import Deps
from gateway.flows.usage import Group, Spread
from gateway.web.answer import JSON
from gateway.web.context import AnyRequest, Handed, envelope_of
from gateway.web.envelope import Caller
from gateway.web.listing import visible_tenants
from gateway.web.media import preferred
from gateway.web.shown import Times, Usage, UsageRow, WebhookCounts, described, stamp
from gateway.web.spreadsheet import csv_lines
from gateway.web.wire import UsageQuery

_CSV = "text/csv"
_FIELDS = {"errorCode": "error_code"}
_TIMES = ("queueWaitSeconds", "runSeconds", "endToEndSeconds")
_COLUMNS = (
    *("jobs", "succeeded", "failed", "failedByCode", "retried"),
    *(f"{name}.{figure}" for name in _TIMES for figure in Times.__struct_fields__),
    *("webhooks.delivered", "webhooks.failed"),
)
_NO_TIMES = [""] * len(Times.__struct_fields__)


@get(
    "/usage",
    opt={"scope": Scope.USAGE_READ, "query": UsageQuery, "across": True, "media": ("text/csv",)},
    responses=described(Usage),
    operation_id="getUsage",
    summary="Sum up ended jobs",
)
async def read_usage(
    asked: Handed[UsageQuery], caller: Handed[Caller], deps: Handed[Deps], request: AnyRequest
) -> Response[bytes]:
    """From roll-ups by the hour; as CSV with `format=csv` or `Accept: text/csv`."""
    groups = tuple(dict.fromkeys(name for name in asked.group_by.split(",") if name))
    visible = await visible_tenants(deps, caller, asked.tenant)
    found = await usage.read_usage(deps, groups, visible, asked.from_, asked.to)
    headers = {"Vary": "Accept"}
    if asked.format == "csv" or (asked.format is None and _wants_csv(request)):
        return Response(_csv(groups, found), media_type=_CSV, headers=headers)
    body = msgspec.json.encode(Usage(list(groups), [_row(groups, one) for one in found]))
    return Response(body, media_type=JSON, headers=headers)


def _wants_csv(request: AnyRequest) -> bool:
    return preferred(envelope_of(request).header(b"accept"), (JSON, _CSV)) == _CSV


# A group that was seen before is the same object; it cannot change.
@lru_cache(maxsize=4096)
def _row(groups: tuple[str, ...], group: Group) -> UsageRow:
    by = {_FIELDS.get(name, name): text for name, text in zip(groups, _by(group), strict=True)}
    return UsageRow(
        **by,
        jobs=group.jobs,
        succeeded=group.succeeded,
        failed=group.failed,
        failed_by_code=group.failed_by_code,
        retried=group.retried,
        queue_wait_seconds=_times(group.queue_wait),
        run_seconds=_times(group.run),
        end_to_end_seconds=_times(group.end_to_end),
        webhooks=WebhookCounts(group.webhooks_delivered, group.webhooks_failed),
    )


def _times(spread: Spread | None) -> Times | None:
    return None if spread is None else Times(round(spread.mean, 6), *spread[1:])


def _by(group: Group) -> list[str]:
    return [stamp(one) if isinstance(one, datetime) else str(one) for one in group.by]


def _csv(groups: Sequence[str], found: Sequence[Group]) -> bytes:
    lines = ([*_by(one), *_cells(one)] for one in found)
    return csv_lines([[*groups, *_COLUMNS], *lines]).encode()


def _cells(group: Group) -> Iterator[str | int]:
    codes = ";".join(f"{code}={jobs}" for code, jobs in group.failed_by_code.items())
    yield from (group.jobs, group.succeeded, group.failed, codes, group.retried)
    for times in map(_times, (group.queue_wait, group.run, group.end_to_end)):
        yield from map(str, msgspec.structs.astuple(times)) if times else _NO_TIMES
    yield from (group.webhooks_delivered, group.webhooks_failed)
