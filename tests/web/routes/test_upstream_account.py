"""Uploads, workflows, the application."""

import pytest

from gateway.ports import Busy, Denied, Trouble, Unknown, Upload, UpstreamProblem, Workflow
from tests.web.conftest import World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_TROUBLE: list[tuple[Trouble, int]] = [
    (Denied(401, UpstreamProblem("", "", "")), 502),
    (Busy("no connection"), 502),
    (Unknown("read timeout"), 504),
]


async def test_an_upload_is_the_upstreams(world: World, acme: str) -> None:
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
async def test_without_a_credential_an_upload_is_refused(world: World, path: str) -> None:
    slug = await world.tenant("poor", credential=False)

    problem(await world.call("GET", path, slug), 409, "CREDENTIAL_MISSING")


async def test_workflows_are_passed_on_unchanged(world: World, acme: str) -> None:
    raw = [f'{{"id":"{n}","slug":"s{n}","extra":[{n}]}}' for n in range(3)]
    world.upstream.listed = [Workflow(str(n), f"W{n}", f"s{n}", raw[n]) for n in range(3)]

    whole = await world.get("/v1/workflow", acme)
    page = await world.get("/api/workflow?page=1&size=2", acme)

    assert [one["extra"] for one in whole["workflows"]] == [[0], [1], [2]]
    assert page == {"workflows": [{"id": "2", "slug": "s2", "extra": [2]}]}


async def test_known_workflows_are_shown_while_the_upstream_is_away(
    world: World, acme: str
) -> None:
    world.upstream.listed = [Workflow("1", "W", "s", '{"id":"1"}')]
    known = await world.get("/v1/workflow", acme)
    world.upstream.listed = Busy("away")

    assert await world.get("/v1/workflow", acme) == known
    other = await world.tenant("other")
    problem(await world.call("GET", "/v1/workflow", other), 502, "UPSTREAM_UNAVAILABLE")


async def test_the_application_is_the_tenant(world: World, acme: str) -> None:
    tenant = await world.find(acme)

    assert await world.get("/v1/application", acme) == {"id": str(tenant.id), "name": tenant.name}
