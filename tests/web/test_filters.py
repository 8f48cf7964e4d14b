"""Filters: each part has a limit, and an empty list is never taken for all."""

import json
from typing import Any

import pytest

from tests.web.conftest import World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MANY = {f"k{n}": ["v"] for n in range(20)}

_BAD_JOBS: dict[str, tuple[Any, str]] = {
    "key without values": ({"metadata": {"k": []}}, "filter.metadata.k"),
    "key without values beside others": (
        {"name": ["x"], "metadata": {"a": ["b"], "k": []}},
        "filter.metadata.k",
    ),
    "no keys": ({"metadata": {}}, "filter.metadata"),
    "no keys beside others": ({"name": ["x"], "metadata": {}}, "filter.metadata"),
    "no names": ({"name": []}, "filter.name"),
    "no names beside others": ({"workflow": ["x"], "name": []}, "filter.name"),
    "no status beside others": ({"workflow": ["x"], "status": []}, "filter.status"),
    "keys": ({"metadata": _MANY | {"one": ["v"]}}, "filter.metadata"),
    "very many keys": (
        {"metadata": {str(n): ["x"] for n in range(2_000)}},
        "filter.metadata",
    ),
    "values of a key": ({"metadata": {"k": ["v"] * 101}}, "filter.metadata.k"),
    "values of all keys": (
        {"metadata": {"a": ["v"] * 100, "b": ["v"] * 100, "c": ["v"]}},
        "filter.metadata",
    ),
    "long key": ({"metadata": {"k" * 129: ["v"]}}, "filter.metadata"),
    "long value": ({"metadata": {"k": ["v" * 4097]}}, "filter.metadata.k[0]"),
    "names": ({"name": ["n"] * 101}, "filter.name"),
    "statuses": ({"status": ["FAILED"] * 101}, "filter.status"),
    "workflows": ({"workflow": ["n"] * 101}, "filter.workflow"),
    "batches": ({"batchName": ["n"] * 101}, "filter.batchName"),
    "codes": ({"errorCode": ["n"] * 101}, "filter.errorCode"),
    "nothing but nulls": ({"createdAfter": None, "completedBefore": None}, "filter"),
}


@pytest.mark.parametrize("face", ["v1", "api"])
@pytest.mark.parametrize("path", ["job/cancel", "job/retry"])
@pytest.mark.parametrize("case", _BAD_JOBS.values(), ids=_BAD_JOBS)
async def test_bulk_on_jobs(
    world: World, acme: str, face: str, path: str, case: tuple[Any, str]
) -> None:
    wanted, field = case
    await world.job(acme)

    given = {"filter": wanted, "dryRun": False}
    answer = await world.call("POST", f"/{face}/{path}", acme, json=given)

    assert field in fields_of(problem(answer, 400, "BAD_REQUEST"))
    assert await world.get("/v1/bulk", acme) == []


async def test_filters_at_the_limit(world: World, acme: str) -> None:
    job_id = await world.job(acme, metadata=dict.fromkeys(_MANY, "v"), name="n")
    wanted = {"metadata": {key: [*map(str, range(9)), "v"] for key in _MANY}}
    wanted |= {"name": ["n", *("x" * 99)], "status": ["QUEUED"] * 100}

    for face in ("v1", "api"):
        given = {"filter": wanted, "dryRun": True}
        assert await world.send("POST", f"/{face}/job/cancel", acme, given) == {
            "dryRun": True,
            "count": 1,
        }
    query = "&".join(f"metadata.{key}=v&metadata.{key}=w" for key in _MANY)
    assert [one["id"] for one in await world.get(f"/v1/job?{query}", acme)] == [job_id]


_QUERIES = {
    "keys": ("&".join(f"metadata.k{n}=v" for n in range(21)), "metadata"),
    "very many keys": ("&".join(f"metadata.{n}=x" for n in range(3_000)), "metadata"),
    "values of a key": ("&".join(["metadata.k=v"] * 101), "metadata.k"),
    "values of all keys": ("&".join([*["metadata.a=v"] * 100, *["metadata.b=v"] * 100, "metadata.c=v"]), "metadata"),
    "names": ("&".join(["name=n"] * 101), "name"),
    "statuses": ("&".join(["status=QUEUED"] * 101), "status"),
    "workflows": ("&".join(["workflow=w"] * 101), "workflow"),
    "batches": ("&".join(["batchName=w"] * 101), "batchName"),
    "tenants": ("&".join(["tenant=w"] * 101), "tenant"),
    "codes": ("&".join(["errorCode=w"] * 101), "errorCode"),
    "long value": ("metadata.k=" + "v" * 4097, "metadata.k"),
}  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/job?", "/api/job?", "/v1/job?format=csv&"])
@pytest.mark.parametrize("case", _QUERIES.values(), ids=_QUERIES)
async def test_lists_of_jobs(world: World, acme: str, path: str, case: tuple[str, str]) -> None:
    query, field = case

    body = problem(await world.call("GET", path + query, acme), 400, "BAD_REQUEST")

    assert fields_of(body) == [field]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/v1/event", "type", "job.failed"),
        ("/v1/event/stream", "type", "job.failed"),
        ("/v1/event", "tenant", "x"),
        ("/v1/usage", "tenant", "x"),
        ("/v1/delivery", "status", "pending"),
        ("/v1/delivery", "event", "job.failed"),
        ("/v1/delivery", "outcome", "timeout"),
    ],
)
async def test_other_lists(world: World, acme: str, path: str, name: str, value: str) -> None:
    query = "&".join([f"{name}={value}"] * 101)

    body = problem(await world.call("GET", f"{path}?{query}", acme), 400, "BAD_REQUEST")

    assert fields_of(body) == [name]


@pytest.mark.parametrize("field", ["endpoint", "status", "event", "job", "outcome"])
async def test_an_empty_list_among_others(world: World, acme: str, field: str) -> None:
    wanted = {"createdAfter": "2026-01-01T00:00:00Z", field: []}

    answer = await world.call("POST", "/v1/delivery/resend", acme, json={"filter": wanted})

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [f"filter.{field}"]


@pytest.mark.parametrize("field", ["scopes", "tenants"])
async def test_a_metadata_key_without_values(world: World, field: str) -> None:
    given = {"kind": "service", "name": "x", field: []}

    answer = await world.call("POST", "/admin/v1/key", world.operator, json=given)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


async def test_many_wrong_fields_of_a_large_body(world: World, acme: str) -> None:
    client = await world.serve(max_body_bytes=2**20)
    body = json.dumps({"filter": {"metadata": {str(n): ["x"] for n in range(40_000)}}})

    answer = await client.post(
        "/v1/job/cancel", content=body, headers={"Authorization": world.keys[acme]}
    )

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["filter.metadata"]
