"""Which jobs a caller means: the same fields in a query string and in the body of a bulk operation."""

from datetime import datetime
from uuid import UUID

from gateway.core.model import STATUS_STATES
from gateway.errors import BadRequest
from gateway.store.job_filter import JobFilter
from gateway.web.instants import in_utc
from gateway.web.wire import MAX_LABEL_VALUES, JobsFilterIn, JobsQuery


def job_filter(
    given: JobsQuery | JobsFilterIn, tenants: tuple[UUID, ...] | None, within: str = ""
) -> JobFilter:
    """The jobs of tenants, None for all; `within` is what a field is in, for BadRequest."""
    labels = sum(map(len, given.metadata.values()))
    if labels > MAX_LABEL_VALUES:
        reason = f"has {labels} values; at most {MAX_LABEL_VALUES} are allowed"
        raise BadRequest.of(f"{within}metadata", reason)

    def time(name: str, at: datetime | None) -> datetime | None:
        return at and in_utc(within + name, at)

    return JobFilter(
        tenants=tenants,
        states=tuple(state.value for status in given.status for state in STATUS_STATES[status]),
        workflows=tuple(given.workflow),
        batch_names=tuple(given.batch_name),
        names=tuple(given.name),
        error_codes=tuple(given.error_code),
        metadata=tuple((key, tuple(values)) for key, values in given.metadata.items()),
        created_after=time("createdAfter", given.created_after),
        created_before=time("createdBefore", given.created_before),
        completed_after=time("completedAfter", given.completed_after),
        completed_before=time("completedBefore", given.completed_before),
    )
