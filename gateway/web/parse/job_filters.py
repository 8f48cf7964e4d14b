"""Filters of jobs: the same fields in a query string and in the body of a bulk operation."""

from uuid import UUID

from gateway.core.model import STATUS_STATES
from gateway.errors import BadRequest
from gateway.store.job_search.filter import JobFilter
from gateway.web.schemas.requests import MAX_LABEL_VALUES, JobsFilterIn, JobsQuery
from gateway.web.schemas.timestamps import plain


def job_filter(
    given: JobsQuery | JobsFilterIn, tenants: tuple[UUID, ...] | None, within: str = ""
) -> JobFilter:
    """The filter for jobs of these tenants, None for all; `within` is the prefix of fields in errors."""
    labels = sum(map(len, given.metadata.values()))
    if labels > MAX_LABEL_VALUES:
        reason = f"has {labels} values; at most {MAX_LABEL_VALUES} are allowed"
        raise BadRequest.of(f"{within}metadata", reason)

    return JobFilter(
        tenants=tenants,
        ids=tuple(given.id) if isinstance(given, JobsFilterIn) else (),
        states=tuple(state.value for status in given.status for state in STATUS_STATES[status]),
        workflows=tuple(given.workflow),
        batch_names=tuple(given.batch_name),
        names=tuple(given.name),
        error_codes=tuple(given.error_code),
        metadata=tuple((key, tuple(values)) for key, values in given.metadata.items()),
        created_after=given.created_after and plain(given.created_after),
        created_before=given.created_before and plain(given.created_before),
        completed_after=given.completed_after and plain(given.completed_after),
        completed_before=given.completed_before and plain(given.completed_before),
    )
