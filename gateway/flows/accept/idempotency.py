"""Idempotency: a repeated `Idempotency-Key` of a tenant yields the job that the first request made.

The unique index on (tenant, key) decides, so it holds between processes and after a crash. A key
lasts as long as its job: retention removes both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.core.model import NewJob
from gateway.errors import IdempotencyKeyReused
from gateway.store.database import Tx
from gateway.store.work import jobs

# A tenant and an idempotency key of one of its jobs; the key is empty where the job has none.
Key = tuple[UUID, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The id of the job, and whether an earlier request with the same idempotency key made it."""

    id: UUID
    replayed: bool = False


def key_of(job: NewJob) -> Key:
    """The tenant and the idempotency key of a job."""
    return job.tenant_id, job.idempotency_key or ""


async def earlier_jobs(tx: Tx, wanted: Sequence[NewJob]) -> dict[Key, jobs.Earlier]:
    """The stored jobs that have the keys of these."""
    keys = {key_of(job) for job in wanted if job.idempotency_key is not None}
    found = await jobs.earlier(tx, keys) if keys else []
    return {(one.tenant_id, one.idempotency_key): one for one in found}


def answer_of_repeat(earlier: jobs.Earlier, job: NewJob) -> Accepted | IdempotencyKeyReused:
    """The answer to a request whose key is known: the earlier job, if it asked for the same."""
    if earlier.request_hash != job.request_hash:
        return IdempotencyKeyReused(
            "Idempotency-Key: it was used before with another body. Use a new key for a new "
            "job, and the same body to repeat a request."
        )
    return Accepted(earlier.id, replayed=True)
