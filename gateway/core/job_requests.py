"""The requests of a job as code: how it is created again, and how it is read, in three languages. Pure.

The address and the access key come from the environment variables API and KEY. The body is the JSON
that was stored, so no digit of a number changes; it is written in ASCII on one line, so that neither a
shell, a terminal nor a source file can take a part of it for something else.
"""

import json
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from gateway.core.events import json_text
from gateway.core.model import Job

# A single argument of a command may have 128 KiB on Linux.
MAX_BODY = 100_000
_SPACES = re.compile("[\t\r\n]")
_BEYOND_ASCII = re.compile("[\x7f-\U0010ffff]")


class CodeSample(NamedTuple):
    """A request in one language; `act` is `create` or `read`."""

    act: str
    language: str
    text: str


def code_samples(job: Job) -> list[CodeSample]:
    """All samples of a job; those that create it only if its body is short enough to be pasted."""
    path, body = f"/v1/job/{job.id}", create_body(job)
    created = list(_creating(body)) if len(body) <= MAX_BODY else []
    return [
        *created,
        CodeSample("read", "curl", f'curl "$API{path}" -H "Authorization: $KEY"'),
        CodeSample("read", "Python (httpx)", _READ_IN_PYTHON.format(path=path)),
        CodeSample("read", "Node (fetch)", _READ_IN_NODE.format(path=path)),
    ]


def create_body(job: Job) -> str:
    """The body of POST /v1/job that makes a job like this one, as JSON in ASCII on one line."""
    fields = {
        "name": json_text(job.name),
        "workflow": json_text(job.workflow),
        "params": job.params,
        "metadata": job.metadata if job.metadata != "{}" else None,
        "batchName": json_text(job.batch_name) if job.batch_name else None,
        "copyResultsTo": job.copy_results_to,
        "callbackUrl": json_text(job.callback_url) if job.callback_url else None,
        "priority": str(job.priority) if job.priority else None,
    }
    members = (f'"{name}": {value}' for name, value in fields.items() if value is not None)
    # Outside of its texts, JSON is ASCII, and line breaks stand only between its tokens.
    return _BEYOND_ASCII.sub(_escaped, _SPACES.sub(" ", f"{{{', '.join(members)}}}"))


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if found[0] != "\x7f" else r"\u007f"


def _creating(body: str) -> Iterator[CodeSample]:
    curl = f'curl "$API/v1/job" -H "Authorization: $KEY" --json {shlex.quote(body)}'
    yield CodeSample("create", "curl", curl)
    yield CodeSample("create", "Python (httpx)", _CREATE_IN_PYTHON.format(body=repr(body)))
    # A JSON text in ASCII is a text of JavaScript, too.
    yield CodeSample("create", "Node (fetch)", _CREATE_IN_NODE.format(body=json.dumps(body)))


_CREATE_IN_PYTHON = """\
import os

import httpx

answer = httpx.post(
    os.environ["API"] + "/v1/job",
    headers={{"Authorization": os.environ["KEY"], "Content-Type": "application/json"}},
    content={body},
)
print(answer.status_code, answer.json())
"""
_READ_IN_PYTHON = """\
import os

import httpx

answer = httpx.get(
    os.environ["API"] + "{path}",
    headers={{"Authorization": os.environ["KEY"]}},
)
print(answer.status_code, answer.json())
"""
_CREATE_IN_NODE = """\
const answer = await fetch(process.env.API + "/v1/job", {{
  method: "POST",
  headers: {{"Authorization": process.env.KEY, "Content-Type": "application/json"}},
  body: {body},
}});
console.log(answer.status, await answer.json());
"""
_READ_IN_NODE = """\
const answer = await fetch(process.env.API + "{path}", {{
  headers: {{"Authorization": process.env.KEY}},
}});
console.log(answer.status, await answer.json());
"""
