"""Queues and workers: what is due, what is held back and why, whose credential, and which processes live."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from litestar import Response, get

from gateway.console.show.states import PROCESSES, Pill
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.flows.admin.tenant_load import held_tenants
from gateway.flows.health.overview import Overview
from gateway.store.tenancy.load import HeldTenant
from gateway.web.context import Injected

_MOST_TENANTS = 50
_QUEUES = {
    "accepted": "Jobs to submit",
    "submitting": "Submits in doubt",
    "poll": "Credentials to poll",
    "deliver": "Webhooks",
    "bulk": "Bulk operations",
}
# What holds rows back, and who acts.
_REASONS: Mapping[str, tuple[str, str]] = {
    "suspended": ("the tenant is suspended", "An operator resumes it."),
    "no_credential": ("the tenant has no credential", "An operator stores one."),
    "credential_rejected": ("the upstream refuses the credential", "An operator stores a new one."),
    "credential_sealed": (
        "no master key opens the credential",
        "An operator adds the key: see `gateway secret status`.",
    ),
    "circuit_open": ("the upstream fails", "Nobody: it is tried again by itself."),
    "upstream_busy": ("the upstream asked to slow down", "Nobody: it goes on by itself."),
    "in_flight_cap": (
        "the tenant has as many jobs in flight as it may",
        "Nobody; an operator may raise its limit.",
    ),
    "retry": ("it failed and waits for its next try", "Nobody: its time comes."),
    "resting": ("the receiver asked for a pause", "Nobody: its time comes."),
    "failing": ("the receiver fails again and again", "The tenant repairs it."),
    "limited": ("the endpoint's own limits", "Nobody, or the tenant raises them."),
    "busy": ("the receiver is being sent as many as it takes", "Nobody: it goes on by itself."),
}


class HeldRows(NamedTuple):
    """Rows that may not go now, why, and who acts."""

    why: str
    who: str
    rows: int
    tenants: int


class QueueOnPage(NamedTuple):
    """One queue: how many rows may go now, since when, and what is held back."""

    name: str
    due: int
    oldest: float
    held: Sequence[HeldRows]


@get("/queues", opt={"scope": Scope.ADMIN_READ})
async def show_queues(view: Injected[View]) -> Response[bytes]:
    """The queues of all tenants, about a second old at most."""
    overview = await view.context.overviews.get()
    now = view.deps.clock.now()
    held = await held_tenants(view.deps, _MOST_TENANTS + 1)
    return view.page(
        "operations/queues.html",
        states=overview.states,
        queues=_queues(overview),
        breakers=[(one, _pill(one, view, now)) for one in held[:_MOST_TENANTS]],
        has_more=len(held) > _MOST_TENANTS,
        processes=overview.processes,
        pills=PROCESSES,
        tenants_waiting=overview.tenants_waiting,
        since_sweep=overview.since_sweep,
    )


def _queues(overview: Overview) -> list[QueueOnPage]:
    found: list[QueueOnPage] = []
    for queue, name in _QUEUES.items():
        lines = [one for one in overview.lines if one.queue == queue]
        free = [one for one in lines if one.reason is None]
        held = [
            HeldRows(*_REASONS.get(one.reason, (one.reason, "")), one.rows, one.tenants)
            for one in lines
            if one.reason is not None
        ]
        oldest = max((one.seconds for one in free), default=0.0)
        found.append(QueueOnPage(name, sum(one.rows for one in free), oldest, held))
    return found


def _pill(one: HeldTenant, view: View, now: datetime) -> Pill:
    if one.version is None:
        return Pill("needs", "no credential")
    if one.rejected_at is not None:
        return Pill("bad", "refused")
    is_paused = one.paused_until is not None and one.paused_until > now
    if one.failures >= view.deps.policy.breaker_failures:
        return Pill("bad", "circuit open") if is_paused else Pill("needs", "probing")
    return Pill("needs", "rests") if is_paused else Pill("needs", "failing")


HANDLERS = [show_queues]
