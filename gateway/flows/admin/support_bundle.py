"""Support bundle: what explains one job, in one file that can be sent to somebody else.

It runs when the tenant or somebody of staff asks for it, and writes nothing. It has no key, no secret,
no header or body of a webhook, and of URLs neither user nor query, because both may hold a secret. The
input, the result and the metadata of the job are in it only if they are asked for.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from gateway.core.events import job_json
from gateway.core.explain.explanation import Explanation, explain_job
from gateway.core.model import TERMINAL, Attempt, Delivery, Job, JobState
from gateway.errors import NotFound
from gateway.flows.admin.tenant_load import LimitsInForce, limits_in_force
from gateway.flows.deps import Deps
from gateway.flows.read.deliveries import webhooks_of_job
from gateway.flows.read.jobs import find_job
from gateway.flows.read.timeline import TimelineEntry, timeline
from gateway.flows.settle.batched_reads import BatchedReads
from gateway.store.migration.migrate import revision
from gateway.store.tenancy import load, tenants
from gateway.store.tenancy.load import TenantLoad
from gateway.store.tenancy.tenants import CredentialInUse

_NO_VALUE = "{}"


@dataclass(frozen=True, slots=True)
class SupportBundle:
    """The parts of a bundle; `job` is the JSON that the API shows."""

    made_at: datetime
    revision: str
    job: str
    explanation: Explanation
    timeline: Sequence[TimelineEntry]
    webhooks: Sequence[tuple[Delivery, Sequence[Attempt]]]
    load: TenantLoad
    limits: LimitsInForce
    credential: CredentialInUse | None
    has_payloads: bool


async def support_bundle(
    deps: Deps, reads: BatchedReads, tenant_id: UUID, job_id: UUID, *, payloads: bool
) -> SupportBundle:
    """Gather a bundle; raises NotFound."""
    job = await find_job(deps, tenant_id, job_id)
    text = await _told(reads, job if payloads else _without_payloads(job))
    entries = await timeline(deps, tenant_id, job_id)
    webhooks = await webhooks_of_job(deps, tenant_id, job_id)
    async with deps.db.single() as tx:
        tenant = await tenants.by_id(tx, tenant_id)
        used = await load.loads(tx, [tenant_id])
        versions = await tenants.credentials(tx, tenant_id)
        schema = await revision(tx)
    if tenant is None or tenant_id not in used:
        raise NotFound("There is no such tenant any more.")  # erased meanwhile
    return SupportBundle(
        deps.clock.now(),
        schema or "",
        text,
        explain_job(json.loads(text)),
        list(map(_safe, entries)),
        [(replace(one, url=without_query(one.url)), attempts) for one, attempts in webhooks],
        used[tenant_id],
        limits_in_force(tenant.limits, deps.policy),
        max(versions, key=lambda one: one.version, default=None),
        payloads,
    )


def without_query(url: str) -> str:
    """A URL without user and query, which may hold a secret."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{'?...' if parts.query else ''}"


def _safe(entry: TimelineEntry) -> TimelineEntry:
    url = entry.detail.get("url")
    if not isinstance(url, str):
        return entry
    return replace(entry, detail={**entry.detail, "url": without_query(url)})


def _without_payloads(job: Job) -> Job:
    return replace(job, params=_NO_VALUE, metadata=_NO_VALUE, result=None)


async def _told(reads: BatchedReads, job: Job) -> str:
    """The job as the API shows it, with what it waits for."""
    place = wait = None
    if job.state not in TERMINAL:
        place = await reads.ahead(job) if job.state is JobState.ACCEPTED else None
        wait = await reads.wait(job, place)
    return job_json(job, queue_position=place, waits_for=wait)
