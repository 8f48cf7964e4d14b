"""What a span tells: the fields of a log line that may be exported, under the names of OpenTelemetry.

It is a list of what may leave, not of what may not: a field that is added to a log line stays here.
No field holds a payload, a URL, a header or words of the upstream.
"""

from collections.abc import Mapping

from opentelemetry.trace import SpanKind

_NAMES = {
    "job_id": "gateway.job.id",
    "tenant_id": "gateway.tenant.id",
    "tenant": "gateway.tenant.slug",
    "workflow": "gateway.workflow",
    "credential_id": "gateway.credential.id",
    "endpoint_id": "gateway.endpoint.id",
    "event_id": "gateway.event.id",
    "delivery_id": "gateway.delivery.id",
    "number": "gateway.delivery.attempt",
    "queue_seconds": "gateway.job.queue_seconds",
    "upstream_seconds": "gateway.job.upstream_seconds",
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "error_class": "error.type",
}
OUTCOME = "gateway.outcome"
KINDS = {"http": SpanKind.SERVER, "submit": SpanKind.CLIENT, "deliver": SpanKind.CLIENT}
# Outcomes of one unit of work that somebody may have to look into.
_FAILURES = frozenset(
    {"refused", "denied", "sealed", "busy", "unknown", "broken", "retry", "exhausted", "gone"}
)
_SERVER_ERROR = 500


def attributes_of(fields: Mapping[str, object]) -> dict[str, str | int | float]:
    """The fields that may be exported; ids become texts, and empty fields are left out."""
    return {
        _NAMES[name]: value if isinstance(value, (int, float)) else str(value)
        for name, value in fields.items()
        if name in _NAMES and value is not None
    }


def http_attributes(status: str, fields: Mapping[str, object]) -> dict[str, str | int | float]:
    """The attributes of a request, whose outcome is its status."""
    return attributes_of({**fields, "status": int(status)})


def has_failed(work: str, outcome: str) -> bool:
    """Whether a span is shown as failed. A job that fails is settled as it should be."""
    if work == "http":
        return int(outcome) >= _SERVER_ERROR
    return work in KINDS and outcome in _FAILURES
