"""GET /usage: sums by any grouping, as JSON and CSV, and who may read them."""

import csv
import io
from typing import Any

import pytest

from gateway.core.lifecycle import Finish, error_of, expired
from gateway.core.model import JobState, KeyKind
from tests.web.conftest import World, fields_of, problem
from tests.web.shape import misfits

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _ended(world: World, slug: str) -> None:
    for n in range(3):
        job_id = await world.job(slug, workflow="w" if n else "v")
        await world.finish(job_id, Finish(JobState.SUCCEEDED) if n else expired())


async def test_usage_is_summed_by_group(world: World, acme: str) -> None:
    await _ended(world, acme)

    usage = await world.get("/v1/usage?groupBy=tenant,workflow,status,errorCode,tenant", acme)

    assert usage["groupBy"] == ["tenant", "workflow", "status", "errorCode"]
    assert [
        (row["tenant"], row["workflow"], row["status"], row["errorCode"], row["jobs"])
        for row in usage["rows"]
    ] == [
        (acme, "v", "FAILED", "DEADLINE_EXCEEDED", 1),
        (acme, "w", "SUCCEEDED", "", 2),
    ]
    failed = usage["rows"][0]
    assert (failed["succeeded"], failed["failed"], failed["retried"]) == (0, 1, 0)
    assert failed["failedByCode"] == {"DEADLINE_EXCEEDED": 1}
    assert failed["webhooks"] == {"delivered": 0, "failed": 0}
    assert failed["queueWaitSeconds"].keys() == {"mean", "p50", "p95", "p99"}
    assert 0 <= failed["queueWaitSeconds"]["p50"] < 60
    assert failed["endToEndSeconds"]["mean"] >= 0
    assert failed["runSeconds"] is None, "it was never submitted"


@pytest.mark.parametrize(
    ("given", "jobs"),
    [
        ("workflow=w", 2),
        ("workflow=v&workflow=w", 3),
        ("workflow=x", 0),
        ("status=failed", 1),
        ("status=SUCCEEDED&workflow=v", 0),
        ("status=SUCCEEDED&workflow=w&groupBy=day,hour", 2),
    ],
)
async def test_usage_of_some_jobs(world: World, acme: str, given: str, jobs: int) -> None:
    await _ended(world, acme)

    usage = await world.get(f"/v1/usage?{given}", acme)

    assert sum(row["jobs"] for row in usage["rows"]) == jobs


async def test_usage_is_as_described(world: World, acme: str) -> None:
    await _ended(world, acme)
    document = (await world.call("GET", "/schema/openapi.json")).json()
    described = document["paths"]["/v1/usage"]["get"]
    shape = described["responses"]["200"]["content"]["application/json"]["schema"]

    for group_by in ("", "hour,day,month,batch", "tenant,workflow,status,errorCode"):
        usage = await world.get(f"/v1/usage?groupBy={group_by}", acme)
        assert misfits(document, shape, usage) == []


@pytest.mark.parametrize("span", ["hour", "day", "month"])
async def test_usage_by_time(world: World, acme: str, span: str) -> None:
    await _ended(world, acme)

    rows = (await world.get(f"/v1/usage?groupBy={span}", acme))["rows"]

    assert rows[0][span].endswith(":00:00.000Z")
    assert sum(row["jobs"] for row in rows) == 3


async def test_usage_by_batch(world: World, acme: str) -> None:
    for name in ("b", "a", "b"):
        await world.finish(await world.job(acme, batchName=name), expired())

    rows = (await world.get("/v1/usage?groupBy=batch", acme))["rows"]

    assert [(row["batch"], row["jobs"]) for row in rows] == [("a", 1), ("b", 2)]


async def test_usage_between_times(world: World, acme: str) -> None:
    await _ended(world, acme)

    after = await world.get("/v1/usage?from=2001-01-01T00:00:00Z", acme)
    before = await world.get("/v1/usage?to=2001-01-01T00:00:00Z", acme)

    assert (after["rows"][0]["jobs"], before["rows"][0]["jobs"]) == (3, 0)


async def test_who_may_read_whose_usage(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    await _ended(world, acme)
    service = await world.key(KeyKind.SERVICE, allowed_tenants=[acme, globex])

    async def jobs(key: str, query: str) -> int:
        return (await world.get(f"/v1/usage{query}", key))["rows"][0]["jobs"]

    assert await jobs(globex, "") == 0
    assert await jobs(globex, f"?tenant={acme}") == 0
    assert await jobs(service, "") == 3
    assert await jobs(service, f"?tenant={globex}") == 0
    stranger = await world.key(KeyKind.SERVICE, allowed_tenants=[globex])
    assert await jobs(stranger, "") == await jobs(stranger, f"?tenant={acme}") == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("groupBy=day,colour&from=now", "from"),
        ("groupBy=colour", "groupBy"),
        ("from=2026-03-01T00:00:00Z&to=2026-03-01T00:59:00Z", "to"),
        ("format=xml", "format"),
        ("from=0001-01-01T00:00:00Z", "from"),
    ],
)
async def test_bad_groupings_are_refused(world: World, acme: str, query: str, field: str) -> None:
    answer = await world.call("GET", f"/v1/usage?{query}", acme)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


# --- CSV ----------------------------------------------------------------------------------------


async def _csv(world: World, slug: str, query: str, **headers: str) -> list[dict[str, str]]:
    answer = await world.call("GET", f"/v1/usage?{query}", slug, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert answer.headers["content-disposition"].startswith('attachment; filename="usage-20')
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("&format=csv", {}),
        ("&format=csv", {"Accept": "application/json"}),
        ("", {"Accept": "application/xml;q=0.1, Text/CSV ; q=0.9"}),
    ],
)
async def test_usage_as_csv(world: World, acme: str, query: str, headers: dict[str, str]) -> None:
    await _ended(world, acme)

    rows = await _csv(world, acme, f"groupBy=workflow,day{query}", **headers)

    told: list[dict[str, Any]] = (await world.get("/v1/usage?groupBy=workflow,day", acme))["rows"]
    assert [row["workflow"] for row in rows] == ["v", "w"]
    for row, usage in zip(rows, told, strict=True):
        assert (row["day"], row["jobs"]) == (usage["day"][:10], str(usage["jobs"]))
        assert row["endToEndSeconds.p99"] == str(usage["endToEndSeconds"]["p99"])
        assert (row["runSeconds.mean"], row["webhooks.failed"]) == ("", "0")
    assert [row["failedByCode"] for row in rows] == ["DEADLINE_EXCEEDED=1", ""]


@pytest.mark.parametrize(
    "accept", ["*/*", "text/csvx", "application/json, text/csv;q=0.5", "text/csv;q=inf"]
)
async def test_json_is_the_default(world: World, acme: str, accept: str) -> None:
    answer = await world.call("GET", "/v1/usage", acme, headers={"Accept": accept})
    assert answer.headers["content-type"] == "application/json"
    again = await world.call("GET", "/v1/usage?format=json", acme, headers={"Accept": "text/csv"})
    assert again.headers["content-type"] == "application/json"


async def test_no_cell_is_a_formula(world: World, acme: str) -> None:
    job_id = await world.job(acme, batchName='=HYPERLINK("http://x")', workflow='a,"b"')
    bad = Finish(JobState.FAILED, error=error_of("@SUM", "", ""))
    await world.finish(job_id, bad)

    (row,) = await _csv(world, acme, "groupBy=batch,workflow&format=csv")

    assert (row["batch"], row["workflow"]) == ('\'=HYPERLINK("http://x")', 'a,"b"')
    assert row["failedByCode"] == "'@SUM=1"
