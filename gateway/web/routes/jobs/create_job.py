"""POST /job, without Litestar, because this call has to be cheap."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

from gateway.core.events import job_json
from gateway.core.model import STATE_STATUS, TERMINAL, NewJob, Scope, Tenant
from gateway.errors import (
    BadRequest,
    CredentialMissing,
    FieldError,
    Forbidden,
    GatewayError,
    NotFound,
    Unauthorized,
    Unavailable,
)
from gateway.flows.accept.acceptor import Order
from gateway.flows.accept.idempotency import Accepted
from gateway.flows.deliver.endpoints import check_callback
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import Caller, RequestContext
from gateway.web.auth import identify
from gateway.web.context import Context
from gateway.web.parse.idempotency_key import fingerprint, idempotency_key_of
from gateway.web.parse.json_body import read_body
from gateway.web.parse.json_objects import (
    merged_metadata,
    read_metadata,
    read_object,
    read_texts,
)
from gateway.web.parse.large_bodies import read_large
from gateway.web.parse.query_string import read_query
from gateway.web.parse.validation_errors import refusal
from gateway.web.respond.raw_response import RawResponse
from gateway.web.routes.jobs.long_poll import awaited_job
from gateway.web.routes.jobs.workflow_forms import shown_workflow
from gateway.web.schemas.requests import BatchJobIn, JobIn, NoQuery

# Other spellings of these paths, such as with a slash at the end, are routed by Litestar.
PATHS = frozenset({"/v1/job", "/api/job"})

_MAX_DEADLINE_SECONDS = 30 * 86_400.0
_WAIT = re.compile(r'(?:^|[,;\s])wait\s*=\s*("?)(\d++)\1(?=$|[,;\s])', re.IGNORECASE)
_REPLAYED = (b"idempotency-replayed", b"true")


async def accept(context: Context, request_context: RequestContext, route: str) -> RawResponse:
    """Accept a job; the response is its id, or with `Prefer: wait=N` the job. Raises GatewayError."""
    try:
        caller = await identify(context.identities, request_context, Scope.JOBS_WRITE)
        order = await _order(
            context,
            request_context,
            caller.required_context.tenant,
            caller.required_context.has_credential,
        )
        accepted = await context.acceptor.accept(order)
    except GatewayError as refused:
        context.deps.observer.done("accept", refused.code, seconds=0.0)
        raise
    if request_context.span:
        request_context.span.note(job_id=accepted.id)
    wait = _preferred_wait(request_context, context.limits.max_wait_seconds)
    if wait is not None:
        request_context.drop_body()
        del order  # frees its memory: the wait may be long
        # The job is accepted: an error now would tell the caller that it is not.
        with suppress(Unavailable, NotFound, Unauthorized, Forbidden):
            return await _finished(context, caller, accepted, wait, route)
    headers = (_REPLAYED,) if accepted.replayed else ()
    return RawResponse(200, b'{"id":"%s"}' % str(accepted.id).encode(), headers=headers)


async def _order(
    context: Context, request_context: RequestContext, tenant: Tenant, has_credential: bool
) -> Order:
    if request_context.query:
        read_query(NoQuery, request_context.query)
    key = idempotency_key_of(request_context)
    await request_context.take_body()
    size = len(request_context.body)
    given = await read_large(size, read_body, JobIn, request_context.body)
    require_credential(has_credential=has_credential)
    deps = context.deps
    if given.callback_url is not None:
        await check_callback(deps, "callbackUrl", given.callback_url)
    of = (deps, tenant, given, key, given.batch_name)
    job = await read_large(size, new_job, *of, traceparent=request_context.traceparent)
    return Order.of(job, tenant.limits, deps.policy)


def require_credential(*, has_credential: bool) -> None:
    """Raise CredentialMissing for a tenant whose jobs could not be submitted."""
    if not has_credential:
        raise CredentialMissing(
            "The tenant has no credential for the upstream, so the job was not accepted. "
            "An operator has to put one first."
        )


def new_job(
    deps: Deps,
    tenant: Tenant,
    given: BatchJobIn,
    idempotency_key: str | None,
    batch_name: str | None,
    *,
    traceparent: str | None,
) -> NewJob:
    """The job to store; raises BadRequest."""
    try:
        params, params_value = read_object("params", given.params)
        metadata, metadata_value = read_metadata(given.metadata)
        copies, copies_value = read_texts("copyResultsTo", given.copy_results_to)
        deadline = _deadline(given.deadline)
    except BadRequest:
        raise refusal(_faults(given)) from None
    digest = None
    if idempotency_key is not None:
        plain = (given.name, given.workflow, batch_name, given.callback_url, given.priority)
        digest = fingerprint([*plain, deadline, params_value, metadata_value, copies_value])
    return NewJob(
        id=deps.ids.uuid(),
        tenant_id=tenant.id,
        name=given.name,
        workflow=given.workflow,
        params=params,
        metadata=merged_metadata(tenant.metadata, metadata, metadata_value),
        copy_results_to=copies,
        batch_name=batch_name,
        callback_url=given.callback_url,
        priority=given.priority,
        deadline_seconds=deps.policy.deadline if deadline is None else deadline,
        idempotency_key=idempotency_key,
        request_hash=digest,
        traceparent=traceparent,
    )


def _faults(given: BatchJobIn) -> Iterator[FieldError]:
    """All faults that the types of the fields do not find."""
    readings: tuple[Callable[[], object], ...] = (
        lambda: read_object("params", given.params),
        lambda: read_metadata(given.metadata),
        lambda: read_texts("copyResultsTo", given.copy_results_to),
        lambda: _deadline(given.deadline),
    )
    for reading in readings:
        try:
            reading()
        except BadRequest as refused:
            yield from refused.errors


def _deadline(given: timedelta | float | None) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not 0 < seconds <= _MAX_DEADLINE_SECONDS:
        raise BadRequest.of("deadline", "must be more than 0 seconds and at most 30 days (P30D)")
    return seconds


def _preferred_wait(request_context: RequestContext, most: float) -> int | None:
    wait = _WAIT.search(request_context.header(b"prefer"))
    if wait is None:
        return None
    # Only nine digits are read, because Python refuses numbers of thousands of digits.
    return min(int(wait[2].lstrip("0")[:9] or "0"), int(most))


async def _finished(
    context: Context, caller: Caller, accepted: Accepted, wait: int, route: str
) -> RawResponse:
    job = await awaited_job(context, caller, caller.required_context.tenant.id, accepted.id, wait)
    headers = ((b"preference-applied", b"wait=%d" % wait),)
    if accepted.replayed:
        headers += (_REPLAYED,)
    if job.state in TERMINAL:
        workflow = await shown_workflow(context, route, job)
        return RawResponse(200, job_json(job, workflow=workflow).encode(), headers=headers)
    body = f'{{"id":"{job.id}","status":"{STATE_STATUS[job.state]}"}}'
    return RawResponse(200, body.encode(), headers=headers)
