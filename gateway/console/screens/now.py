"""Now: whether the gateway is healthy, and why not."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

from litestar import Response, get

from gateway.console.links import BULK, DELIVERIES, ENDPOINTS, JOBS, QUEUES
from gateway.console.screens.now_charts import compared, drawn_charts
from gateway.console.show import charts
from gateway.console.show.states import PROCESSES, Pill
from gateway.console.show.words import count, duration
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.errors import Unavailable
from gateway.flows.health.overview import Overview
from gateway.flows.health.status import GatewayStatus, status
from gateway.flows.read.throughput import WINDOWS, ThroughputReport, Window, read_throughput
from gateway.store.work.bulk_operations import MOST_RUNNING
from gateway.store.work.queues import QueueLine
from gateway.web.context import Injected
from gateway.web.schemas.requests import In

_LOOKS = {"ok": "good", "degraded": "needs", "down": "bad"}
_QUEUES = {
    "accepted": "jobs to submit",
    "submitting": "submits in doubt",
    "poll": "jobs at the upstream",
    "deliver": "webhooks",
    "bulk": "bulk operations",
}
_LISTS = {
    "accepted": f"{JOBS}?status=QUEUED",
    "submitting": f"{JOBS}?status=QUEUED",
    "poll": f"{JOBS}?status=STARTED",
    "deliver": f"{DELIVERIES}?status=pending",
    "bulk": f"{BULK}?state=running",
}
_REJECTED = "credential_rejected"
_HALF_WAY = 50  # percent of the way to being disabled
_MANY_FAILED = 0.05  # of the calls of the upstream


class NowView(In):
    """The window of the charts."""

    window: Window = "1h"


@get("/", opt={"scope": Scope.ADMIN_READ})
async def show_now(parameters: Injected[NowView], view: Injected[View]) -> Response[bytes]:
    """The state of the gateway as this process sees it."""
    found, report = await asyncio.gather(
        status(view.deps, view.context.overviews), _throughput(view, parameters.window)
    )
    overview = found.overview
    reasons = [one.message for one in found.wrong]
    reasons += [] if overview is None else _of_tenants(overview)
    return view.page(
        "now.html",
        status=200,
        found=found,
        look=_LOOKS["degraded" if reasons and found.word == "ok" else found.word],
        verdict=_verdict(found, reasons),
        reasons=reasons,
        tiles=[
            *([] if report is None else [*_of_hour(report, view), *_of_upstream(report, view)]),
            *([] if overview is None else _tiles(overview, view)),
        ],
        charts=[] if report is None else drawn_charts(report),
        size=charts,
        window=parameters.window,
        windows=WINDOWS,
        held=[] if overview is None else _held(overview),
        due=[] if overview is None else _due(overview, view),
        processes=[] if overview is None else overview.processes,
        pills=PROCESSES,
        servers=_servers(found),
    )


async def _throughput(view: View, window: Window) -> ThroughputReport | None:
    """The throughput; None while Postgres cannot be used."""
    with suppress(Unavailable):
        return await read_throughput(view.deps, window)
    return None


def _verdict(found: GatewayStatus, reasons: Sequence[str]) -> str:
    if found.word == "down":
        return "No work is done."
    return "Needs attention." if reasons else "All is well."


def _of_tenants(overview: Overview) -> Iterator[str]:
    """What somebody has to look at though the gateway itself is well."""
    refused = _refused(overview)
    if tenants := sum(one.tenants for one in refused):
        whose = "a tenant's credential" if tenants == 1 else f"the credentials of {tenants} tenants"
        rows = count(sum(one.rows for one in refused))
        yield f"The upstream refuses {whose}; {rows} jobs wait. Store a new one."
    if failing := overview.failing.get(_HALF_WAY, 0):
        what = "An endpoint fails and is" if failing == 1 else f"{failing} endpoints fail and are"
        yield f"{what} disabled, or at least half way to it."


def _refused(overview: Overview) -> list[QueueLine]:
    return [one for one in overview.lines if one.reason == _REJECTED and one.queue == "accepted"]


def _servers(found: GatewayStatus) -> list[tuple[str, Pill]]:
    postgres = Pill("good", "ok") if found.database == "ok" else Pill("bad", "cannot be used")
    redis = Pill("good", "ok") if found.redis else Pill("needs", "away")
    return [("Postgres", postgres), ("Redis", redis)]


def _of_hour(report: ThroughputReport, view: View) -> list[dict[str, str]]:
    """Accepted, ended and failed in the last hour, beside the same hour yesterday."""
    jobs = view.at(f"{JOBS}?span=hour")
    now = report.totals
    ended, before = now.succeeded + now.failed, now.succeeded_yesterday + now.failed_yesterday
    share = f"{100 * now.failed / ended:.1f} % of those that ended" if ended else ""
    return [
        _tile(
            "accepted, 1 h",
            count(now.accepted),
            more=compared(now.accepted, now.accepted_yesterday),
            href=jobs,
        ),
        _tile(
            "ended, 1 h",
            count(ended),
            more=compared(ended, before),
            href=f"{jobs}&status=SUCCEEDED&status=FAILED",
        ),
        _tile(
            "failed, 1 h",
            count(now.failed),
            more=share,
            href=f"{jobs}&status=FAILED",
        ),
    ]


def _of_upstream(report: ThroughputReport, view: View) -> list[dict[str, str]]:
    """The calls of the upstream in the last hour: how many, how they ended, and how fast it answers."""
    now, took = report.totals, report.call
    calls = now.calls_answered + now.calls_limited + now.calls_failed
    parts = [(now.calls_failed, "failed"), (now.calls_limited, "told to slow down")]
    ended = ", ".join(f"{count(number)} {word}" for number, word in parts if number)
    share = now.calls_failed / calls if calls else 0.0
    queues = view.at(QUEUES)
    return [
        _tile(
            "upstream calls, 1 h",
            count(calls),
            more=ended or ("all answered" if calls else ""),
            look="needs" if share > _MANY_FAILED else "",
            href=queues,
        ),
        _tile(
            "upstream answers in",
            duration(took.p50) if took else "none",
            more=f"p95 {duration(took.p95)}" if took else "",
            href=queues,
        ),
    ]


def _tiles(overview: Overview, view: View) -> list[dict[str, str]]:
    queues = view.at(QUEUES)
    workers = [one for one in overview.processes if one.kind == "worker" and one.state != "stopped"]
    alive = sum(one.state == "ok" for one in workers)
    refused, failing = _refused(overview), overview.failing.get(_HALF_WAY, 0)
    return [
        _tile("oldest due job", _since(overview, "accepted"), href=queues),
        _tile("oldest due webhook", _since(overview, "deliver"), href=queues),
        _tile(
            "workers",
            f"{alive} of {len(workers)}",
            look="" if alive == len(workers) and alive else "bad",
            href=queues,
        ),
        _tile("tenants that wait", count(overview.tenants_waiting), href=queues),
        _tile(
            "credentials refused",
            count(sum(one.tenants for one in refused)),
            more=f"{count(sum(one.rows for one in refused))} jobs wait" if refused else "",
            look="needs" if refused else "",
            href=queues,
        ),
        _tile(
            "endpoints that fail",
            count(failing),
            look="needs" if failing else "",
            href=view.at(f"{ENDPOINTS}?health=failing"),
        ),
        _tile(
            "bulk operations",
            f"{count(MOST_RUNNING)} or more"
            if overview.operations >= MOST_RUNNING
            else count(overview.operations),
            href=view.at(f"{BULK}?state=running"),
        ),
    ]


def _tile(
    name: str, value: str, *, more: str = "", look: str = "", href: str = ""
) -> dict[str, str]:
    return {"name": name, "value": value, "more": more, "look": look, "href": href}


def _since(overview: Overview, queue: str) -> str:
    seconds = _oldest(overview, queue)
    return duration(seconds) if seconds else "none"


def _oldest(overview: Overview, queue: str) -> float | None:
    return next((one.seconds for one in overview.lines if _is_free(one, queue)), None)


def _is_free(line: QueueLine, queue: str) -> bool:
    return line.queue == queue and line.reason is None


def _due(overview: Overview, view: View) -> list[tuple[str, str, int, float, int]]:
    """Each queue with its list: what may go, since when, and what is held back."""
    return [
        (
            name,
            view.at(_LISTS[queue]),
            sum(one.rows for one in overview.lines if _is_free(one, queue)),
            _oldest(overview, queue) or 0.0,
            sum(one.rows for one in overview.lines if one.queue == queue and one.reason),
        )
        for queue, name in _QUEUES.items()
    ]


def _held(overview: Overview) -> list[tuple[str, str, int, int]]:
    """What is held back: its queue, the reason, how many, of how many tenants."""
    return [
        (_QUEUES[one.queue], one.reason.replace("_", " "), one.rows, one.tenants)
        for one in overview.lines
        if one.reason is not None and one.rows
    ]


HANDLERS = [show_now]
