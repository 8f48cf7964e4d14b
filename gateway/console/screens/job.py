"""Job: why it ended as it did, what happened when, its data and its webhooks; retry, cancel, copy, bundle."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, get_args
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from gateway.console.headers import page_headers
from gateway.console.links import JOBS
from gateway.console.show.phases import phases
from gateway.console.view import View
from gateway.core.events import job_json
from gateway.core.explain.explanation import explain_job
from gateway.core.job_requests import code_samples
from gateway.core.model import TERMINAL, Job, JobState, Scope, Tenant
from gateway.core.text.cursor import PageCursor
from gateway.errors import Conflict, NotFound, TenantSuspended
from gateway.flows.accept.acceptor import Order
from gateway.flows.accept.retry_job import job_again
from gateway.flows.admin.audit import note_before
from gateway.flows.admin.support_bundle import support_bundle
from gateway.flows.read.deliveries import webhooks_of_job
from gateway.flows.read.job_rows import job_rows
from gateway.flows.read.jobs import find_job, find_owner, is_input_kept
from gateway.flows.read.timeline import timeline_of
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.job_search.filter import JobFilter
from gateway.web.context import Injected
from gateway.web.respond.csv import file_named
from gateway.web.respond.raw_response import JSON
from gateway.web.schemas.bundle_responses import SupportBundleOut
from gateway.web.schemas.requests import BundleQuery, In

Tab = Literal["timeline", "input", "result", "error", "metadata", "webhooks", "request", "raw"]
_DATA: Mapping[str, Callable[[Job], str | None]] = {
    "input": lambda job: job.params,
    "result": lambda job: job.result,
    "error": lambda job: job.error,
    "metadata": lambda job: job.metadata,
    "raw": job_json,
}
_MOST_OTHERS = 100
_MOST_TO_COPY = 256 * 1024
_HOUR = timedelta(hours=1)
_READS = {"scope": Scope.JOBS_READ}
_WRITES = {"scope": Scope.SUPPORT}


class JobView(In):
    """Which part of a job is shown."""

    tab: Tab | None = None


@get("/jobs/{job_id:uuid}", opt=_READS)
async def show_job(
    job_id: FromPath[UUID], parameters: Injected[JobView], view: Injected[View]
) -> Response[bytes]:
    """One job."""
    job = await _job(view, job_id)
    webhooks, told, others, entries = await asyncio.gather(
        webhooks_of_job(view.deps, job.tenant_id, job.id),
        _told(view, job),
        _others(view, job),
        timeline_of(view.deps, job),
    )
    now, tab = view.deps.clock.now(), parameters.tab or "timeline"
    return view.page(
        "job.html",
        job=job,
        told=told,
        explained=explain_job(told),
        error=told["error"],
        others=others,
        phases=phases(job, webhooks, now),
        entries=entries,
        webhooks=webhooks,
        text=_text(job, tab) if tab in _DATA else "",
        samples=code_samples(job) if tab == "request" else [],
        is_input_kept=tab != "request" or await is_input_kept(view.deps, job.tenant_id, job.id),
        most_to_copy=_MOST_TO_COPY,
        tabs=_tabs(job),
        tab=tab,
        is_open=job.state not in TERMINAL,
        path=view.at(f"{JOBS}/{job.id}"),
        once=view.deps.ids.uuid(),
    )


@get("/jobs/{job_id:uuid}/support-bundle", opt=_READS)
async def download_bundle(
    job_id: FromPath[UUID], parameters: Injected[BundleQuery], view: Injected[View]
) -> Response[bytes]:
    """What explains the job, as a file without secrets."""
    job = await _job(view, job_id)
    found = await support_bundle(
        view.deps,
        view.context.watchers.reads,
        job.tenant_id,
        job.id,
        payloads=parameters.payloads,
    )
    headers = {**page_headers(), **file_named(f"job-{job.id}", found.made_at, "json")}
    return Response(SupportBundleOut.of(found).file(), media_type=JSON, headers=headers)


@get("/jobs/{job_id:uuid}/data/{tab:str}", opt=_READS)
async def job_file(
    job_id: FromPath[UUID], tab: FromPath[str], view: Injected[View]
) -> Response[bytes]:
    """The JSON of a tab as a file: all of it, however long."""
    job = await _job(view, job_id)
    if tab not in _DATA or tab not in _tabs(job):
        raise NotFound("There is no such part of the job.")
    named = file_named(f"job-{job.id}-{tab}", view.deps.clock.now(), "json")
    return Response(_text(job, tab).encode(), media_type=JSON, headers={**page_headers(), **named})


@post("/jobs/{job_id:uuid}/retry", status_code=200, opt=_WRITES)
async def retry_job(job_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """Run the job again as a new one, and show that; a form that is sent twice makes one job."""
    job = await _job(view, job_id)
    tenant = await _active_tenant(view, job)
    once = view.form.get("once", "")[:64]
    key = f"console {once}" if once.isascii() and once.isprintable() and once else None
    again = await job_again(view.deps, tenant.id, job.id, idempotency_key=key)
    order = Order.of(again, tenant.limits, view.deps.policy)
    actor = view.signed_in.actor
    await note_before(view.deps, actor, "job.retried", str(job.id), tenant.id, newId=again.id)
    accepted = await view.context.acceptor.accept(order)
    return view.go(view.at(f"{JOBS}/{accepted.id}"))


@post("/jobs/{job_id:uuid}/cancel", status_code=200, opt=_WRITES)
async def cancel_job(job_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """End an open job; it leaves the lists."""
    job = await _job(view, job_id)
    tenant = await _active_tenant(view, job)
    if job.state in TERMINAL:
        raise Conflict("The job has ended already, so there is nothing to cancel.")
    await note_before(view.deps, view.signed_in.actor, "job.cancelled", str(job.id), tenant.id)
    await delete_job(view.deps, tenant.id, job.id, unless_ended=True)
    return view.go(view.at(f"{JOBS}?told=cancelled"))


async def _job(view: View, job_id: UUID) -> Job:
    """A job that the session may see; raises NotFound."""
    own = view.signed_in.tenant
    owner = await find_owner(view.deps, job_id, None if own is None else (own.id,))
    return await find_job(view.deps, owner, job_id)


async def _active_tenant(view: View, job: Job) -> Tenant:
    """The tenant of a job that is to be changed; raises TenantSuspended."""
    tenant = (await view.context.identities.tenant_by_id(job.tenant_id)).tenant
    if tenant.suspended_at is not None:
        raise TenantSuspended("The tenant is suspended. Only an operator can resume it.")
    return tenant


async def _told(view: View, job: Job) -> dict[str, Any]:
    """The job as the API shows it, with what it waits for, but without its input and result."""
    place = wait = None
    if job.state not in TERMINAL:
        reads = view.context.watchers.reads
        place = await reads.ahead(job) if job.state is JobState.ACCEPTED else None
        wait = await reads.wait(job, place)
    small = replace(job, params="null", result=None, metadata="{}")
    return json.loads(job_json(small, queue_position=place, waits_for=wait))


async def _others(view: View, job: Job) -> str:
    """How many other jobs of the tenant failed with the same code in the last hour; empty for none."""
    if job.error is None:
        return ""
    wanted = JobFilter(
        tenants=(job.tenant_id,),
        error_codes=(json.loads(job.error)["code"],),
        created_after=view.deps.clock.now() - _HOUR,
    )
    rows = (await job_rows(view.deps, wanted, PageCursor(), _MOST_OTHERS + 1)).rows
    others = sum(one.id != job.id for one in rows)
    return f"more than {_MOST_OTHERS}" if others > _MOST_OTHERS else str(others or "")


def _tabs(job: Job) -> list[str]:
    """The tabs that the job has something for."""
    without = {"result": job.result is None, "error": job.error is None}
    return [tab for tab in get_args(Tab) if not without.get(tab)]


def _text(job: Job, tab: str) -> str:
    """The JSON of a tab, which is made only where it is shown: a result may have megabytes."""
    read = _DATA[tab]
    return read(job) or "null"


HANDLERS = [show_job, job_file, download_bundle, retry_job, cancel_job]
