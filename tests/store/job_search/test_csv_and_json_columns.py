"""Postgres renders jobs as Python renders the same jobs."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.events import instant, job_json, json_text
from gateway.core.model import STATE_STATUS, Job, JobState
from gateway.core.text.printable import printable_cells
from gateway.store.database import Tx
from gateway.store.job_search import lists
from gateway.store.job_search.csv_and_json_columns import END, HEADER, MARK, TENANT_LENGTH, Form
from gateway.store.job_search.filter import JobFilter
from gateway.store.work import jobs
from gateway.web.respond.csv import csv_lines
from tests.builders import TRACEPARENT, add_jobs, add_tenant, ids_in, put

AT = datetime(2026, 3, 4, 5, 6, 7, 891_999, tzinfo=UTC)
ALL_CHARACTERS = "".join(map(chr, range(1, 0x300))) + '"\\/\u2028\ufeff\uffff😀'
# For each field that callers, tenants and the upstream fill: values that are hard to render.
HARD: dict[str, list[Any]] = {
    "name": [ALL_CHARACTERS, "", " ", "=1+1", "\ttab", "a,b", "'", '"', "\r\n", "%s", "\\", "null"],
    "batch_name": [ALL_CHARACTERS, "", "-1", '","'],
    "workflow": [ALL_CHARACTERS, "", "@x", MARK],
    "upstream_id": [ALL_CHARACTERS, "", "+1", "\\u0041"],
    "params": [
        "{}",
        '{ "n": 1.10, "big": 123456789012345678901234567890, "e": 1E+2, "n": -0.0 }',
        '{"é":"\\u00e9\\ud83d\\ude00",\r\n\t"a" :\n[ ]}',
        '\t{"a":"%s \\u001d \\\\"}',
    ],
    "metadata": ["{}", '{"b":"é😀","a":{"deep":[1,2.50,null,true]},"quote":"\\"","big":1e400}'],
    "result": ["null", "-2", '"=1"', "[]", '{"a": "\\"\\n"}', "\n1", "1.0"],
    "error": ['{"code":"X","n":1.10}', '{"code":"=X,\\"é\\n"}', "{}", '{"code":null}'],
    "created_at": [datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_000, UTC)],
    "started_at": [AT, AT.replace(microsecond=0), AT.replace(microsecond=120_000)],
    "completed_at": [AT, AT.replace(microsecond=999), AT.replace(microsecond=999_999)],
    "next_at": [AT, AT + timedelta(days=40_000)],
    "submit_attempts": [0, 2_147_483_647],
    "version": [2_147_483_647],
    "retry_of": [UUID(int=0), uuid7()],
    "traceparent": [TRACEPARENT],
}


async def text_of(tx: Tx, tenant: UUID, form: Form) -> str:
    found = await lists.page(tx, JobFilter((tenant,)), form, before=None, size=1000)
    return "".join(found.texts)


async def jobs_of(tx: Tx, tenant: UUID) -> list[Job]:
    found = await lists.page(tx, JobFilter((tenant,)), "json", before=None, size=1000)
    jobs_ = [await jobs.find(tx, tenant, job_id) for job_id in ids_in(found)]
    return [job for job in jobs_ if job is not None]


def whole(line: str) -> str:
    """The line with the workflow in place of the two marks and the tenant."""
    before, workflow, after = line.split(MARK)
    assert UUID(workflow[:TENANT_LENGTH])
    return before + workflow[TENANT_LENGTH:] + after


def _seconds(start: datetime | None, end: datetime | None) -> str | None:
    if start is None or end is None:
        return None
    seconds = Decimal(max((end - start) // timedelta(microseconds=1), 0)).scaleb(-6)
    return str(seconds.quantize(Decimal("0.001"), ROUND_HALF_UP))


def cells_of(job: Job) -> list[object]:
    error = json.loads(job.error) if job.error else {}
    code, message = error.get("code"), error.get("message")
    times = (job.created_at, job.started_at, job.completed_at)
    return [
        *(job.id, job.tenant, job.app, job.name, job.batch_name, job.workflow),
        *(STATE_STATUS[job.state], job.state.value, code, message),
        *(at and json.loads(instant(at)) for at in times),
        _seconds(job.created_at, job.submitted_at or job.completed_at),
        _seconds(job.submitted_at, job.completed_at),
        _seconds(job.created_at, job.completed_at),
        *(job.upstream_id, job.submit_attempts, job.version, job.retry_of),
        *(job.params, job.metadata, job.result, job.error),
    ]


async def add_hard(tx: Tx) -> UUID:
    """A tenant with a job in each state, and one for each hard value."""
    tenant = await add_tenant(tx)
    await put(tx, "tenant", tenant, name=ALL_CHARACTERS)
    for state in JobState:
        (job_id,) = await add_jobs(tx, tenant)
        await put(tx, "job", job_id, state=state.value)
        rich = {name: values[0] for name, values in HARD.items()}
        (job_id,) = await add_jobs(tx, tenant)
        await put(tx, "job", job_id, **rich | {"state": state.value})
    for name, values in HARD.items():
        for value, job_id in zip(values, await add_jobs(tx, tenant, len(values)), strict=True):
            await put(tx, "job", job_id, **{name: value})
    return tenant


async def test_json_has_the_bytes_of_an_answer_about_the_job(tx: Tx) -> None:
    tenant = await add_hard(tx)
    *lines, nothing = (await text_of(tx, tenant, "ndjson")).split(END)
    jobs = await jobs_of(tx, tenant)
    assert len(jobs) == 2 * len(JobState) + sum(map(len, HARD.values()))
    assert nothing == ""
    assert [whole(line) for line in lines] == [job_json(job) for job in jobs]
    assert await text_of(tx, tenant, "json") == "".join(f"{line}," for line in lines)


async def test_the_marks_enclose_tenant_and_workflow(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    await add_jobs(tx, tenant, workflow="flöw")
    text = await text_of(tx, tenant, "ndjson")
    assert text.split(MARK)[1] == f"{tenant}{json_text('flöw')}"


async def test_csv_has_the_cells_that_python_writes(tx: Tx) -> None:
    tenant = await add_hard(tx)
    text = printable_cells(await text_of(tx, tenant, "csv"))
    assert text.endswith("\r\n")
    rows = parsed(text)
    assert rows == parsed(csv_lines(map(cells_of, await jobs_of(tx, tenant))))
    assert {len(row) for row in rows} == {len(HEADER)}


def parsed(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("form", ["csv", "json", "ndjson"])
async def test_pages_continue_before_an_id_in_each_format(tx: Tx, form: Form) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    ids = await add_jobs(tx, tenant, 205)
    await add_jobs(tx, other)
    wanted = JobFilter((tenant,))
    found = await lists.page(tx, wanted, form, before=ids[204], size=202)
    assert len(found.texts) == 3
    assert (found.jobs, found.last, found.more) == (202, ids[2], True)
    places = ["".join(found.texts).find(str(one)) for one in ids[203:1:-1]]
    assert places == sorted(places)
    assert places[0] >= 0
    last = await lists.page(tx, wanted, form, before=ids[2], offset=1, size=1)
    assert (last.jobs, last.last, last.more) == (1, ids[0], False)
    assert await lists.page(tx, wanted, form, before=ids[0], size=9) == lists.NOTHING
