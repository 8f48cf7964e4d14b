"""GET /usage: totals of ended jobs, as JSON or CSV."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import cast

import msgspec
from litestar import get
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from gateway.core.model import Scope
from gateway.flows.settle import usage
from gateway.flows.settle.usage import Group, Spread, UsageOnly
from gateway.web.asgi.request_context import Caller
from gateway.web.context import AnyRequest, Context, Injected, request_context_of
from gateway.web.parse.accept_header import preferred
from gateway.web.respond.csv import CSV, csv_head, csv_lines, file_named
from gateway.web.respond.raw_response import JSON
from gateway.web.routes.jobs.list_jobs import visible_tenants
from gateway.web.schemas.requests import UsageQuery
from gateway.web.schemas.responses import Times, Usage, UsageRow, WebhookCounts, described, stamp

_FIELDS = {"errorCode": "error_code"}
_TIMES = ("queueWaitSeconds", "runSeconds", "endToEndSeconds")
_COLUMNS = (
    *("jobs", "succeeded", "failed", "failedByCode", "retried"),
    *(f"{name}.{figure}" for name in _TIMES for figure in Times.__struct_fields__),
    *("webhooks.delivered", "webhooks.failed"),
)
# CSV shows a day or a month as its first date.
_DATED, _DATE = ("day", "month"), len("2026-11-30")
_NO_TIMES = [None] * len(Times.__struct_fields__)


@get(
    "/usage",
    opt={"scope": Scope.USAGE_READ, "across": True, "media": ("text/csv",)},
    responses=described(Usage),
    operation_id="getUsage",
    summary="Read totals of ended jobs",
)
async def get_usage(
    parameters: Injected[UsageQuery],
    caller: Injected[Caller],
    context: Injected[Context],
    request: AnyRequest,
) -> ASGIApp:
    """Sums hourly roll-ups. CSV with `format=csv` or `Accept: text/csv`."""
    deps, turn = context.deps, context.usage_lock
    groups = tuple(dict.fromkeys(name for name in parameters.group_by.split(",") if name))
    visible = await visible_tenants(deps, caller, parameters.tenant)
    only = UsageOnly(parameters.workflow, [one.value for one in parameters.status])
    found = await usage.read_usage(
        deps, groups, visible, parameters.from_, parameters.to, turn=turn, only=only
    )
    if parameters.format == "csv" or (parameters.format is None and _wants_csv(request)):
        return await usage_csv(context, groups, found)
    rows = await usage.in_turns(turn, partial(_row_json, groups), found)
    body = b'{"groupBy":%b,"rows":[%b]}' % (msgspec.json.encode(groups), b",".join(rows))
    return cast("ASGIApp", ASGIResponse(body=body, media_type=JSON, headers={"Vary": "Accept"}))


async def usage_csv(context: Context, groups: tuple[str, ...], found: Sequence[Group]) -> ASGIApp:
    """Groups of usage as a CSV file."""
    lines = await usage.in_turns(context.usage_lock, partial(_line, groups), found)
    body = "".join([csv_head([*groups, *_COLUMNS]), *lines]).encode()
    headers = {"Vary": "Accept", **file_named("usage", context.deps.clock.now(), "csv")}
    return cast("ASGIApp", ASGIResponse(body=body, media_type=CSV, headers=headers))


def _wants_csv(request: AnyRequest) -> bool:
    return preferred(request_context_of(request).header(b"accept"), (JSON, CSV)) == CSV


# Groups are immutable, and an unchanged one comes as the same object, so its JSON is cached.
@lru_cache(maxsize=4096)
def _row_json(groups: tuple[str, ...], group: Group) -> bytes:
    return msgspec.json.encode(_row(groups, group))


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


def _line(groups: tuple[str, ...], group: Group) -> str:
    by = [
        text[:_DATE] if name in _DATED else text
        for name, text in zip(groups, _by(group), strict=True)
    ]
    return csv_lines([[*by, *_cells(group)]])


def _cells(group: Group) -> Iterator[object]:
    codes = ";".join(f"{code}={jobs}" for code, jobs in group.failed_by_code.items())
    yield from (group.jobs, group.succeeded, group.failed, codes, group.retried)
    for times in map(_times, (group.queue_wait, group.run, group.end_to_end)):
        yield from msgspec.structs.astuple(times) if times else _NO_TIMES
    yield from (group.webhooks_delivered, group.webhooks_failed)
