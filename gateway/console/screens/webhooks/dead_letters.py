"""Dead letters: grouped by their reason, and resent as a group after a count."""

from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from litestar import Response, get, post
from msgspec import field

from gateway.console.links import DEAD_LETTERS, DELIVERIES, link
from gateway.console.screens.webhooks.recover import noted_start, read_time
from gateway.console.screens.webhooks.tenant_filter import chosen_tenant
from gateway.console.show.words import machine
from gateway.console.view import View
from gateway.core.model import DeliveryState, Scope
from gateway.core.webhooks.failure_causes import FailureCause, failure_cause
from gateway.errors import BadRequest
from gateway.flows.bulk.deliveries import resend
from gateway.flows.read.deliveries import check_statuses, dead_letter_groups
from gateway.store.delivery_search.dead_letters import DeadLetterGroup
from gateway.store.delivery_search.filter import DeliveryFilter
from gateway.web.context import Injected
from gateway.web.schemas.requests import Choice, In
from gateway.web.schemas.webhook_requests import HttpStatuses, Ids, Outcome, Outcomes

_DEAD = DeliveryState.EXHAUSTED.value
_SEND = f"{DEAD_LETTERS}/send"
_SUPPORT = {"scope": Scope.SUPPORT}


class DeadLettersView(In):
    """Whose dead letters are shown."""

    tenant: Choice = field(default_factory=list[str])


class GroupView(In):
    """Which dead letters are sent: those of one receiver and reason, or all of a tenant."""

    tenant: Choice = field(default_factory=list[str])
    endpoint: Ids = field(default_factory=list[UUID])
    callbacks: bool = False
    outcome: Outcomes = field(default_factory=list[Outcome])
    http_status: HttpStatuses = field(default_factory=list[int])


class GroupRow(NamedTuple):
    """A group as it is shown; it can be sent if `send` is not empty."""

    group: DeadLetterGroup
    cause: FailureCause | None
    deliveries: str
    send: str


@get("/dead-letters", opt={"scope": Scope.ENDPOINTS_READ})
async def show_dead_letters(
    parameters: Injected[DeadLettersView], view: Injected[View]
) -> Response[bytes]:
    """The groups, the largest first."""
    tenant_id = await chosen_tenant(view, parameters.tenant)
    found = await dead_letter_groups(view.deps, tenant_id)
    slug = found.groups[0].tenant if found.groups else ""
    return view.page(
        "webhooks/dead_letters.html",
        rows=[_row(view, one) for one in found.groups],
        found=found,
        given=parameters,
        all_of_tenant=link(view.at(_SEND), tenant=slug) if tenant_id and found.groups else "",
    )


@get("/dead-letters/send", opt=_SUPPORT)
async def count_group(parameters: Injected[GroupView], view: Injected[View]) -> Response[bytes]:
    """How many there are at this moment, and the button that sends them."""
    now = view.deps.clock.now()
    wanted = await _filter(view, parameters)
    counted = await resend(view.deps, replace(wanted, created_before=now), dry_run=True)
    return view.page(
        "webhooks/resend_group.html",
        tenant=(await view.context.identities.tenant_by_id(wanted.tenant_id)).tenant.slug,
        given=parameters,
        counted=counted,
        now_is=now,
        path=view.url,
        back=view.at(DEAD_LETTERS),
        fields={"until": machine(now)},
    )


@post("/dead-letters/send", status_code=200, opt=_SUPPORT)
async def send_group(parameters: Injected[GroupView], view: Injected[View]) -> Response[bytes]:
    """Begin the operation on what was counted, and show its progress."""
    wanted = await _filter(view, parameters)
    begun = await resend(view.deps, replace(wanted, created_before=read_time(view, "until")))
    return view.go(await noted_start(view, wanted.tenant_id, begun))


async def _filter(view: View, given: GroupView) -> DeliveryFilter:
    """The dead letters of one tenant that a group has; raises BadRequest, NotFound."""
    tenant_id = await chosen_tenant(view, given.tenant)
    if tenant_id is None:
        raise BadRequest.of("tenant", "is required")
    check_statuses(given.http_status)
    return DeliveryFilter(
        tenant_id,
        endpoints=tuple(given.endpoint),
        states=(_DEAD,),
        outcomes=tuple(one.value for one in given.outcome),
        statuses=tuple(given.http_status),
        callbacks=given.callbacks,
    )


def _row(view: View, group: DeadLetterGroup) -> GroupRow:
    pairs = {
        "tenant": group.tenant,
        "endpoint": str(group.endpoint_id or ""),
        "callbacks": "" if group.endpoint_id else "true",
        "outcome": group.error_class or "",
        "httpStatus": str(group.status or ""),
    }
    can_be_sent = group.error_class is not None and not (group.is_disabled or group.is_deleted)
    return GroupRow(
        group,
        failure_cause(group.error_class) if group.error_class else None,
        link(view.at(DELIVERIES), status=_DEAD, **pairs),
        link(view.at(_SEND), **pairs) if can_be_sent else "",
    )


HANDLERS = [show_dead_letters, count_group, send_group]
