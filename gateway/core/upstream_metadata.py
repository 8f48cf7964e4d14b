"""The marker: the gateway's job id in the upstream metadata, by which jobs in doubt are found."""

from uuid import UUID

MARKER = "gatewayJobId"


def with_marker(metadata: str, job_id: UUID) -> str:
    """Add the marker to a JSON object; a key of that name given by the caller is overridden."""
    inner = metadata.strip()[1:-1].strip()
    return f'{{{inner}{"," if inner else ""}"{MARKER}":"{job_id}"}}'
