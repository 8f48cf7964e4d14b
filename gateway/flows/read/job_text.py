"""Jobs as text that Postgres wrote, for lists and exports: no object is made for each of them.

Control characters, which JSON has none of, mark the end of each job and the places of workflows,
which each generation of the API shows in a form of its own.
"""

import json
from collections.abc import Awaitable, Callable
from uuid import UUID

from gateway.store.job_search.csv_and_json_columns import END, MARK, TENANT_LENGTH

# Gives the JSON for the workflow of a tenant by its slug.
ShowWorkflow = Callable[[UUID, str], Awaitable[str]]


def as_lines(text: str) -> str:
    """One job a line: line breaks between the tokens of a job's params become spaces."""
    return text.replace("\r", " ").replace("\n", " ").replace(END, "\n")


async def with_workflows(text: str, shown: dict[str, str], show: ShowWorkflow) -> bytes:
    """The text with workflows in their places; `shown` keeps those that were shown before."""
    pieces = list[str](text.split(MARK))
    for mark in set(pieces[1::2]) - shown.keys():
        tenant, slug = UUID(mark[:TENANT_LENGTH]), mark[TENANT_LENGTH:]
        shown[mark] = await show(tenant, json.loads(slug))
    pieces[1::2] = [shown[mark] for mark in pieces[1::2]]
    return "".join(pieces).encode()
