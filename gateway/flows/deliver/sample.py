"""Sample deliveries: send one sample event to an endpoint now, and return what happened.

It runs when a caller tests an endpoint, also a disabled one. It is sent once and never retried.
Event, delivery and attempt are stored after the answer, in one transaction. A crash before that
leaves nothing: a webhook may have been sent that no log shows.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from gateway.core.crypto.cipher import CannotOpenError
from gateway.core.events import EVENT_TYPES, TEST_PING, event_body, job_json
from gateway.core.lifecycle import error_of
from gateway.core.model import Attempt, Endpoint, Job, JobState, Tenant
from gateway.core.webhooks.judge_reply import Delivered, Exhausted, error_class
from gateway.core.webhooks.signed_request import Reply
from gateway.errors import BadRequest, Conflict, NotFound, SecretSealed
from gateway.flows.deliver.attempt import AttemptResult, attempt_of, recorded, signed_webhook
from gateway.flows.deliver.endpoints import missing
from gateway.flows.deliver.signing_keys import live_keys, open_headers
from gateway.flows.deps import Deps
from gateway.flows.settle.watchers import announce_feed
from gateway.store.tenancy import tenants
from gateway.store.webhooks import attempts, endpoints
from gateway.store.webhooks.deliveries import ToDeliver
from gateway.store.work import settlement
from gateway.store.work.settlement import NewDelivery, NewEvent

_STATES = {
    "job.started": JobState.RUNNING,
    "job.succeeded": JobState.SUCCEEDED,
    "job.failed": JobState.FAILED,
    "job.deleted": JobState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class SampleDelivery:
    """The event that was sent to an endpoint, and the attempt."""

    delivery_id: UUID
    event_id: UUID
    type: str
    body: str
    delivered: bool
    attempt: Attempt


async def try_endpoint(
    deps: Deps,
    tenant: Tenant,
    endpoint_id: UUID,
    kind: str = TEST_PING,
    *,
    within: float | None = None,
) -> SampleDelivery:
    """Send a sample event of a type to an endpoint, once, for at most `within` seconds.

    It is logged like any delivery. Raises NotFound, BadRequest, and Conflict or SecretSealed if no
    secret can sign it.
    """
    if kind not in EVENT_TYPES:
        raise BadRequest.of("type", f"'{kind}' is not one of {', '.join(EVENT_TYPES)}")
    at, token = deps.clock.now(), deps.ids.uuid()
    async with deps.db.of(tenant.id) as tx:
        endpoint = await endpoints.find(tx, tenant.id, endpoint_id)
        if endpoint is None:
            raise missing()
        keys = (await live_keys(tx, deps, [(tenant.id, endpoint_id)]))[tenant.id, endpoint_id]
        sealed = await endpoints.sealed_headers(tx, endpoint_id)
        if await endpoints.secret(tx, tenant.id, endpoint_id) is None:
            raise Conflict("The endpoint has no signing secret: rotate it to make one.")
    custom = _open(deps, tenant.id, endpoint_id, sealed) if keys else None
    if custom is None:
        raise SecretSealed.of("the secrets of this endpoint")
    body = _sample(deps, tenant, kind, at)
    event = NewEvent(deps.ids.uuid(), tenant.id, None, kind, body, endpoint_id, is_sample=True)
    one = _to_deliver(deps, endpoint, event, at)
    webhook = signed_webhook(one, keys, custom, at)
    answer = await deps.sender.send(webhook, within)
    attempt = attempt_of(one, webhook, custom, answer, at)
    delivered = isinstance(answer, Reply) and error_class(answer.status) is None
    result = AttemptResult(one, token, attempt, Delivered() if delivered else Exhausted())
    # Stored after the attempt: a process that dies meanwhile leaves nothing to be sent again.
    async with deps.db.of(tenant.id) as tx:
        if await tenants.by_id(tx, tenant.id) is None:
            raise missing()  # the tenant was erased meanwhile
        await settlement.add_events(tx, [event])
        await settlement.add_deliveries(tx, [_pending(one, endpoint)])
        await attempts.lease(tx, one.id, token, deps.policy.lease)
        await attempts.record(tx, [recorded(result)])
    return SampleDelivery(one.id, event.id, kind, event.body, delivered, attempt)


async def sample_to_feed(deps: Deps, tenant: Tenant, kind: str) -> UUID:
    """Store a sample event for followers of the feed; no endpoint is sent it. Raises NotFound."""
    body = _sample(deps, tenant, kind, deps.clock.now())
    event = NewEvent(deps.ids.uuid(), tenant.id, None, kind, body, is_sample=True)
    async with deps.db.of(tenant.id) as tx:
        if await tenants.by_id(tx, tenant.id) is None:
            raise NotFound("There is no such tenant any more.")  # erased meanwhile
        await settlement.add_events(tx, [event])
    announce_feed(deps, [tenant.id])
    return event.id


def _open(
    deps: Deps, tenant_id: UUID, endpoint_id: UUID, sealed: bytes | None
) -> dict[str, str] | None:
    try:
        return open_headers(deps, tenant_id, endpoint_id, sealed)
    except CannotOpenError:
        return None


def _pending(one: ToDeliver, endpoint: Endpoint) -> NewDelivery:
    place = endpoint.id, None, endpoint.id
    return NewDelivery(one.id, one.tenant_id, one.event_id, None, *place, "pending", one.type)


def _to_deliver(deps: Deps, endpoint: Endpoint, event: NewEvent, at: datetime) -> ToDeliver:
    return ToDeliver(
        id=deps.ids.uuid(),
        tenant_id=event.tenant_id,
        event_id=event.id,
        job_id=None,
        endpoint_id=endpoint.id,
        url=endpoint.url,
        attempts=1,
        spared=0,
        resent=False,
        type=event.type,
        body=event.body,
        event_at=at,
        delays=[],
        headers_sealed=None,
        unwell=False,
        claimed_at=at,
        lane=endpoint.id,
    )


def _sample(deps: Deps, tenant: Tenant, kind: str, at: datetime) -> str:
    if kind in _STATES:
        return event_body(kind, job_json(_job(deps, tenant, _STATES[kind], at)), at)
    return event_body(kind, json.dumps({"test": True, "tenant": tenant.slug}), at)


def _job(deps: Deps, tenant: Tenant, state: JobState, at: datetime) -> Job:
    """A made-up job, as callers are shown one."""
    has_ended = state is not JobState.RUNNING
    error = error_of("BAD_INPUT", "Sample error", "This job is a sample and was never run.")
    return Job(
        id=deps.ids.uuid(),
        tenant_id=tenant.id,
        tenant=tenant.slug,
        app=tenant.name,
        name="Sample job",
        batch_name=None,
        workflow="sample-workflow",
        params='{"inputUrl":"https://media.example.com/song.wav"}',
        copy_results_to=None,
        metadata='{"test":true}',
        callback_url=None,
        state=state,
        result='{"vocals":"https://media.example.com/vocals.wav"}'
        if state is JobState.SUCCEEDED
        else None,
        error=error.json() if state is JobState.FAILED else None,
        created_at=at,
        submitted_at=at,
        started_at=at,
        completed_at=at if has_ended else None,
        deadline_at=None,
        next_at=None,
        credential_id=None,
        upstream_id=None,
        submit_attempts=1,
        priority=0,
        version=1,
        retry_of=None,
        traceparent=None,
    )
