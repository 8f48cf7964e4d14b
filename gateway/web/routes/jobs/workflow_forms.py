"""How `/v1` and `/api` show a job's workflow."""

from uuid import UUID

import msgspec

from gateway.core.events import json_text
from gateway.core.model import Job
from gateway.web.context import Context
from gateway.web.schemas.responses import Out

_OLD = "/api/"


class WorkflowNamed(Out):
    """A workflow of the upstream."""

    id: str
    name: str


async def shown_workflow(context: Context, path: str, job: Job) -> str | None:
    """The workflow as JSON for `/api`, with id and name; None for `/v1`, which shows the slug."""
    if not path.startswith(_OLD):
        return None
    return await workflow_json(context, path, job.tenant_id, job.workflow)


async def workflow_json(context: Context, path: str, tenant_id: UUID, slug: str) -> str:
    """A tenant's workflow as JSON: its id and name for `/api`, its slug otherwise."""
    if not path.startswith(_OLD):
        return json_text(slug)
    known = await context.workflows.named(tenant_id, slug)
    names = (slug, slug) if known is None else (known.id, known.name)
    return msgspec.json.encode({"id": names[0], "name": names[1]}).decode()
