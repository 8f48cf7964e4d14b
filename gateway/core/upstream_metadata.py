"""What a job carries upstream besides what its caller gave."""

from uuid import UUID

# The key in the upstream metadata that a job is found by when its submit had no clear answer.
MARKER = "gatewayJobId"


def with_marker(metadata: str, job_id: UUID) -> str:
    """Add the marker to a JSON object."""
    inner = metadata.strip()[1:-1].strip()
    return f'{{{inner}{"," if inner else ""}"{MARKER}":"{job_id}"}}'
