"""How the two generations of the API show a job's workflow."""

import json
from collections.abc import Awaitable, Callable
from uuid import UUID

import msgspec

from gateway.core.events import json_text
from gateway.core.model import Job
from gateway.store.job_search.render import MARK, TENANT_LENGTH
from gateway.web.context import Context
from gateway.web.schemas.responses import Out

_OLD = "/api/"

# What is shown of a tenant's workflow, as JSON.
Shown = Callable[[UUID, str], Awaitable[str]]


class WorkflowNamed(Out):
    """A workflow of the upstream."""

    id: str
    name: str


async def shown_workflow(context: Context, path: str, job: Job) -> str | None:
    """The workflow as JSON for `/api`, which shows its id and name; None where the slug stays."""
    if not path.startswith(_OLD):
        return None
    return await workflow_json(context, path, job.tenant_id, job.workflow)


async def with_workflows(text: str, names: dict[str, str], shown: Shown) -> bytes:
    """Jobs that Postgres wrote, with workflows in place of their marks; `names` keeps them."""
    pieces = list[str](text.split(MARK))
    for mark in set(pieces[1::2]) - names.keys():
        tenant, slug = UUID(mark[:TENANT_LENGTH]), mark[TENANT_LENGTH:]
        names[mark] = await shown(tenant, json.loads(slug))
    pieces[1::2] = [names[mark] for mark in pieces[1::2]]
    return "".join(pieces).encode()


async def workflow_json(context: Context, path: str, tenant_id: UUID, slug: str) -> str:
    """A tenant's workflow as JSON: its id and name for `/api`, and else its slug."""
    if not path.startswith(_OLD):
        return json_text(slug)
    known = await context.workflows.named(tenant_id, slug)
    names = (slug, slug) if known is None else (known.id, known.name)
    return msgspec.json.encode({"id": names[0], "name": names[1]}).decode()
