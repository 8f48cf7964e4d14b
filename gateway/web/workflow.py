"""How the two generations of the API show a job's workflow."""

import msgspec

from gateway.core.model import Job
from gateway.web.context import Context

_OLD = "/api/"


async def shown_workflow(context: Context, path: str, job: Job) -> str | None:
    """The workflow as JSON for `/api`, which shows its id and name; None where the slug stays."""
    if not path.startswith(_OLD):
        return None
    known = await context.workflows.named(job.tenant_id, job.workflow)
    names = (job.workflow, job.workflow) if known is None else (known.id, known.name)
    return msgspec.json.encode({"id": names[0], "name": names[1]}).decode()
