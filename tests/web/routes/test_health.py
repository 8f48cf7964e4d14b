"""Health, readiness and OpenAPI."""

import pytest

from gateway.flows.health.heartbeat import Heart
from gateway.store.database import open_database
from gateway.store.processes import Identity
from tests.web.conftest import World

READY = {"status": "ok", "redis": True, "workers": "none"}
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_live_process_says_so(world: World) -> None:
    assert (await world.call("GET", "/health/live")).json() == {"status": "ok"}


async def test_a_ready_process_says_so(world: World) -> None:
    answer = await world.call("GET", "/health/ready")

    assert (answer.status_code, answer.json()) == (200, READY)


async def test_without_redis_it_is_still_ready(world: World) -> None:
    world.queue.connected, world.queue.trouble = False, "nothing listens there"
    try:
        answer = await world.call("GET", "/health/ready")
    finally:
        world.queue.connected, world.queue.trouble = True, None

    assert answer.status_code == 200
    trouble = {"redis": False, "redisTrouble": "nothing listens there"}
    assert answer.json() == READY | trouble


async def test_a_ready_process_says_whether_a_worker_is_alive(world: World) -> None:
    who = Identity(world.deps.ids.uuid(), "worker", "host", 1, "1")
    assert await Heart(world.deps, who).beat()

    with_one = (await world.call("GET", "/health/ready")).json()
    async with world.deps.db.single() as tx:
        await tx.run("DELETE FROM process")

    assert with_one == READY | {"workers": "ok"}
    assert (await world.call("GET", "/health/ready")).json() == READY


async def test_a_draining_process_is_not_ready_but_still_answers(world: World, acme: str) -> None:
    world.deps.slots.closing = True
    try:
        answer = await world.call("GET", "/health/ready")
        job_id = await world.job(acme)
    finally:
        world.deps.slots.closing = False

    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert job_id


async def test_without_the_database_it_is_not_ready(world: World, unused_tcp_port: int) -> None:
    url = f"postgresql+asyncpg://nobody@127.0.0.1:{unused_tcp_port}/none"
    away = open_database(url, pool=2, name="test")
    world.client = await world.serve(db=away)

    answer = await world.call("GET", "/health/ready")

    assert (answer.status_code, answer.json()["status"]) == (503, "database away")
    assert (await world.call("GET", "/health/live")).status_code == 200
    await away.close()


async def test_every_path_is_described(world: World) -> None:
    schema = (await world.call("GET", "/schema/openapi.json")).json()

    assert schema["openapi"].startswith("3.1")
    older = (await world.call("GET", "/schema/api.json")).json()
    tenant_paths = {path for path in schema["paths"] if path.startswith("/v1/")}
    assert older["paths"].keys() == {path.replace("/v1/", "/api/", 1) for path in tenant_paths}
    assert {"/v1/job", "/v1/job/{job_id}", "/v1/usage", "/v1/endpoint"} <= tenant_paths
    accept = schema["paths"]["/v1/job"]["post"]
    assert accept["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/JobIn"
    }
    shape = schema["components"]["schemas"]["JobIn"]
    assert set(shape["required"]) == {"name", "workflow", "params"}
    assert shape["additionalProperties"] is False
    assert {"Idempotency-Key", "Prefer"} <= {one["name"] for one in accept["parameters"]}


async def test_the_document_is_consistent(world: World) -> None:
    schema = (await world.call("GET", "/schema/openapi.json")).json()

    for path, operations in schema["paths"].items():
        for operation in operations.values():
            refused = operation["responses"]["400"]["$ref"]
            told = schema["components"]["responses"][refused.rpartition("/")[2]]
            assert "application/problem+json" in told["content"]
            assert "200" in operation["responses"], path
            is_open = path.startswith("/health") or "/.well-known/" in path
            assert bool(operation.get("security")) != is_open, path
    parts = schema["components"]
    assert _references(schema) <= {name for part in parts.values() for name in part}
    ids = [one["operationId"] for path in schema["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids))


def _references(part: object) -> set[str]:
    if isinstance(part, dict):
        own = {str(part["$ref"]).rpartition("/")[2]} if "$ref" in part else set[str]()
        return own.union(*map(_references, part.values()))
    return set[str]().union(*map(_references, part)) if isinstance(part, list) else set()


async def test_the_filters_of_a_list_are_described(world: World) -> None:
    schema = (await world.call("GET", "/schema/openapi.json")).json()

    parameters = {one["name"]: one for one in schema["paths"]["/v1/job"]["get"]["parameters"]}

    assert {"status", "page", "size", "cursor", "metadata", "createdAfter"} <= set(parameters)
    assert parameters["size"]["schema"]["maximum"] == 1000


async def test_no_page_loads_anything_from_elsewhere(world: World) -> None:
    for path in ("/schema", "/schema/swagger", "/schema/redoc", "/schema/scalar"):
        assert "<script" not in (await world.call("GET", path)).text
