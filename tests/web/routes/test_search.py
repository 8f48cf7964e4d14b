"""The search box: each kind of thing by its id or name, and nothing of another tenant."""

from typing import Any
from uuid import UUID

import pytest

from gateway.core.lifecycle import cancelled
from gateway.core.model import KeyKind
from tests.web.conftest import NOBODY, World, fields_of, problem
from tests.web.webhooks import delivery, endpoint

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def found(world: World, key: str, text: str, path: str = "/v1/search") -> list[Any]:
    answer = await world.call("GET", path, key, params={"q": text})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def everything(world: World, slug: str) -> dict[str, str]:
    """A text to find each kind of thing by, and its id."""
    headers = {"Idempotency-Key": f"order-{slug}"}
    body = {"name": "<b>song</b>", "workflow": "music-ai/stems", "params": {}}
    body |= {"batchName": f"night of {slug}"}
    made = await world.call("POST", "/v1/job", slug, headers=headers, json=body)
    job = made.json()["id"]
    upstream = f"up-{slug}"
    async with world.deps.db.single() as tx:
        await tx.run("UPDATE job SET upstream_id = $1 WHERE id = $2", upstream, UUID(job))
    await world.finish(job, cancelled())
    sent = await delivery(world, slug, await endpoint(world, slug), state="parked", job=job)
    event = (await world.get(f"/v1/delivery/{sent}", slug))["eventId"]
    return {
        "job": job,
        "job by its beginning": job[:18],
        "job by its upstream id": upstream,
        "job by its idempotency key": f"order-{slug}",
        "batch": f"night of {slug}",
        "delivery": sent,
        "event": event,
    }


async def test_each_kind_is_found_by_its_tenant_and_by_operators(world: World, acme: str) -> None:
    texts = await everything(world, acme)
    service = await world.key(KeyKind.SERVICE)
    for name, text in texts.items():
        for key, path in (
            (acme, "/v1/search"),
            (service, "/v1/search"),
            (world.operator, "/v1/search"),
            (world.operator, "/admin/v1/search"),
        ):
            hits = await found(world, key, f" {text} ", path)
            kind, _, how = name.partition(" ")
            hit = next(one for one in hits if one["kind"] == kind)
            assert hit["tenant"] == acme
            assert hit["id"] == (texts["job"] if how else text)
    (job,) = await found(world, acme, texts["job"])
    assert job == {
        "kind": "job",
        "id": texts["job"],
        "tenant": acme,
        "label": "<b>song</b> · cancelled",
        "path": f"/v1/job/{texts['job']}",
    }
    assert (await world.get(job["path"], acme))["id"] == job["id"]
    (batch,) = await found(world, acme, texts["batch"])
    assert [one["id"] for one in await world.get(batch["path"], acme)] == [texts["job"]]
    kinds = [one["kind"] for one in await found(world, acme, texts["event"])]
    assert kinds == ["event", "delivery"]


async def test_nothing_of_another_tenant_is_found(world: World, acme: str) -> None:
    globex = await world.tenant("globex")
    texts = await everything(world, globex)
    service = await world.key(KeyKind.SERVICE, allowed_tenants=[acme])
    for text in texts.values():
        assert await found(world, acme, text) == [] or text == texts["job"][:18]
        assert globex not in {one["tenant"] for one in await found(world, acme, text)}
        assert globex not in {one["tenant"] for one in await found(world, service, text)}
        named = await world.call(
            "GET",
            "/v1/search",
            world.operator,
            headers={"Gateway-Tenant": acme},
            params={"q": text},
        )
        assert globex not in {one["tenant"] for one in named.json()}
    assert await found(world, acme, globex) == []


async def test_tenants_are_found_by_operators_alone(world: World, acme: str) -> None:
    hits = await found(world, world.operator, acme[:-2].upper(), "/admin/v1/search")
    assert {
        "kind": "tenant",
        "id": acme,
        "tenant": acme,
        "label": "Acme",
        "path": f"/admin/v1/tenant/{acme}",
    } in hits
    assert await found(world, acme, acme) == []
    assert await found(world, world.operator, acme) == []


async def test_a_key_finds_what_it_may_read(world: World, acme: str) -> None:
    texts = await everything(world, acme)
    jobs = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"jobs:read"}))
    webhooks = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"endpoints:read"}))
    neither = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"usage:read"}))
    assert await found(world, jobs, texts["delivery"]) == []
    assert await found(world, webhooks, texts["job"]) == []
    assert [one["kind"] for one in await found(world, webhooks, texts["delivery"])] == ["delivery"]
    answer = await world.call("GET", "/v1/search?q=x", neither)
    assert "jobs:read or endpoints:read" in problem(answer, 403, "FORBIDDEN")["detail"]


@pytest.mark.parametrize(
    "text",
    [
        NOBODY,
        "nothing of that name",
        "%",
        "_",
        "*",
        "'; DROP TABLE job; --",
        "\u202ex",
        "\U0001f600" * 100,
        "0" * 33,
        "-" * 20,
        "a",
        "\u0130stanbul",
        "x" * 512,
    ],
)
async def test_a_text_that_is_nothing_finds_nothing(world: World, acme: str, text: str) -> None:
    assert await found(world, acme, text) == []
    hits = await found(world, world.operator, text, "/admin/v1/search")
    assert {one["kind"] for one in hits} <= {"tenant"}


@pytest.mark.parametrize("query", ["", "?q=", "?q=" + "x" * 513, "?q=a&q=b"])
async def test_a_text_has_to_be_given_once(world: World, acme: str, query: str) -> None:
    for key, path in ((acme, "/v1/search"), (world.operator, "/admin/v1/search")):
        answer = await world.call("GET", path + query, key)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["q"]


async def test_there_are_at_most_twenty_hits(world: World) -> None:
    prefix = f"many-{world.deps.ids.random_bytes(4).hex()}"
    for number in range(25):
        await world.send(
            "POST",
            "/admin/v1/tenant",
            world.operator,
            {"slug": f"{prefix}-{number:02}", "name": "Many"},
        )
    hits = await found(world, world.operator, prefix, "/admin/v1/search")
    assert [one["id"] for one in hits] == [f"{prefix}-{number:02}" for number in range(20)]
