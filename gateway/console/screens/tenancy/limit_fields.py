"""The limits of a tenant as the fields of a form: empty is the gateway's default."""

from collections.abc import Mapping
from typing import NamedTuple

from gateway.console.form import form_as
from gateway.web.schemas.requests import LimitsIn

# Before the name of a field: what the page showed, so that a form changes only what its sender changed.
SHOWN = "shown."


class LimitField(NamedTuple):
    """A field: its name in the form, in LimitsIn and in Limits, and its words."""

    name: str
    attribute: str
    limit: str
    label: str


LIMIT_FIELDS = (
    LimitField("maxQueued", "max_queued", "max_queued", "Waiting jobs"),
    LimitField("maxInFlight", "max_in_flight", "max_in_flight", "Jobs in flight"),
    LimitField("maxRate", "max_rate", "max_rate", "Requests a second"),
    LimitField("maxEndpoints", "max_endpoints", "max_endpoints", "Endpoints"),
    LimitField("keepPayloadsDays", "keep_payloads_days", "keep_payloads", "Keep payloads, days"),
    LimitField("keepJobsDays", "keep_jobs_days", "keep_jobs", "Keep jobs, days"),
    LimitField("keepAttemptsDays", "keep_attempts_days", "keep_attempts", "Keep attempts, days"),
    LimitField("keepEventsDays", "keep_events_days", "keep_events", "Keep events, days"),
)


def changed_limits(form: Mapping[str, str]) -> dict[str, int | None]:
    """The limits that differ from what the page showed, by their names in Limits; raises BadRequest."""
    read = form_as(LimitsIn, form)
    return {
        one.limit: getattr(read, one.attribute)
        for one in LIMIT_FIELDS
        if one.name in form and form[one.name].strip() != form.get(f"{SHOWN}{one.name}", "").strip()
    }
