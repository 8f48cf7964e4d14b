"""Uploads, workflows, the application, usage."""

import pytest

from gateway.core.lifecycle import Finish, expired
from gateway.core.model import JobState, KeyKind
from gateway.ports import Busy, Denied, Problem, Trouble, Unknown, Upload, Workflow
from tests.web.conftest import World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TROUBLE: list[tuple[Trouble, int]] = [
    (Denied(401, Problem("", "", "")), 502),
    (Busy("no connection"), 502),
    (Unknown("read timeout"), 504),
]


async def test_an_upload_is_the_upstreams_own(world: World, acme: str) -> None:
    world.upstream.signed = Upload("https://put.example.com", "https://get.example.com")

    assert await world.get("/v1/upload", acme) == {
        "uploadUrl": "https://put.example.com",
        "downloadUrl": "https://get.example.com",
    }


@pytest.mark.parametrize(("trouble", "status"), _TROUBLE, ids=["denied", "busy", "timeout"])
async def test_without_the_upstream_there_is_no_upload(
    world: World, acme: str, trouble: Trouble, status: int
) -> None:
    world.upstream.signed = trouble

    problem(await world.call("GET", "/v1/upload", acme), status, "UPSTREAM_UNAVAILABLE")


@pytest.mark.parametrize("path", ["/v1/upload", "/v1/workflow"])
async def test_without_a_credential_there_is_nothing_to_ask_with(world: World, path: str) -> None:
    slug = await world.tenant("poor", credential=False)

    problem(await world.call("GET", path, slug), 409, "CREDENTIAL_MISSING")


async def test_workflows_are_passed_on_as_they_are(world: World, acme: str) -> None:
    raw = [f'{{"id":"{n}","slug":"s{n}","extra":[{n}]}}' for n in range(3)]
    world.upstream.listed = [Workflow(str(n), f"W{n}", f"s{n}", raw[n]) for n in range(3)]

    whole = await world.get("/v1/workflow", acme)
    page = await world.get("/api/workflow?page=1&size=2", acme)

    assert [one["extra"] for one in whole["workflows"]] == [[0], [1], [2]]
    assert page == {"workflows": [{"id": "2", "slug": "s2", "extra": [2]}]}


async def test_known_workflows_outlive_the_upstream(world: World, acme: str) -> None:
    world.upstream.listed = [Workflow("1", "W", "s", '{"id":"1"}')]
    known = await world.get("/v1/workflow", acme)
    world.upstream.listed = Busy("away")

    assert await world.get("/v1/workflow", acme) == known
    other = await world.tenant("other")
    problem(await world.call("GET", "/v1/workflow", other), 502, "UPSTREAM_UNAVAILABLE")


async def test_the_application_is_the_tenant(world: World, acme: str) -> None:
    tenant = await world.find(acme)

    assert await world.get("/v1/application", acme) == {"id": str(tenant.id), "name": tenant.name}


async def _ended(world: World, slug: str) -> None:
    for n in range(3):
        job_id = await world.job(slug, workflow="w" if n else "v")
        await world.finish(job_id, Finish(JobState.SUCCEEDED) if n else expired())


async def test_usage_is_summed_by_group(world: World, acme: str) -> None:
    await _ended(world, acme)

    usage = await world.get("/v1/usage?groupBy=tenant,workflow,status,errorCode", acme)

    assert usage["groupBy"] == ["tenant", "workflow", "status", "errorCode"]
    assert [
        (row["tenant"], row["workflow"], row["status"], row["errorCode"], row["jobs"])
        for row in usage["rows"]
    ] == [
        (acme, "v", "FAILED", "DEADLINE_EXCEEDED", 1),
        (acme, "w", "SUCCEEDED", "", 2),
    ]
    assert usage["rows"][0]["queueWaitSeconds"]["mean"] >= 0


@pytest.mark.parametrize("span", ["hour", "day", "month"])
async def test_usage_by_time(world: World, acme: str, span: str) -> None:
    await _ended(world, acme)

    rows = (await world.get(f"/v1/usage?groupBy={span}", acme))["rows"]

    assert rows[0][span].endswith(":00:00.000Z")
    assert sum(row["jobs"] for row in rows) == 3


async def test_usage_between_times(world: World, acme: str) -> None:
    await _ended(world, acme)

    after = await world.get("/v1/usage?from=2001-01-01T00:00:00Z", acme)
    before = await world.get("/v1/usage?to=2001-01-01T00:00:00Z", acme)

    assert (after["rows"][0]["jobs"], before["rows"][0]["jobs"]) == (3, 0)


async def test_usage_of_whom(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    await _ended(world, acme)
    service = await world.key(KeyKind.SERVICE, allowed_tenants=[acme, globex])

    async def jobs(key: str, query: str) -> int:
        return (await world.get(f"/v1/usage{query}", key))["rows"][0]["jobs"]

    assert await jobs(globex, "") == 0
    assert await jobs(globex, f"?tenant={acme}") == 0
    assert await jobs(service, "") == 3
    assert await jobs(service, f"?tenant={globex}") == 0


async def test_usage_by_nonsense(world: World, acme: str) -> None:
    answer = await world.call("GET", "/v1/usage?groupBy=day,colour&from=now", acme)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["from"]

    body = problem(await world.call("GET", "/v1/usage?groupBy=colour", acme), 400, "BAD_REQUEST")
    assert fields_of(body) == ["groupBy"]
    assert "errorCode" in body["detail"]
