"""Answers match the OpenAPI document: they have all that it describes, and nothing else."""

import json
import re
import sys
from typing import Any, get_args

import msgspec
import pytest
from markdown_it import MarkdownIt

from gateway.core.webhooks.signed_request import FaultKind
from gateway.web.schemas.requests import JobsQuery
from gateway.web.schemas.webhook_requests import Outcome
from tests.conftest import ROOT
from tests.web.conftest import NOBODY, World
from tests.web.shape import misfits
from tests.web.webhooks import HOOK, delivery, endpoint, failed

pytestmark = pytest.mark.asyncio(loop_scope="module")

_AREAS = ("/v1/endpoint", "/v1/delivery", "/v1/bulk", "/.well-known/")
_SINCE = {"since": "2001-01-01T00:00:00Z"}


class _Described:
    """Sends requests and compares every answer with the document; `asked` are the operations."""

    def __init__(self, world: World, slug: str, document: Any) -> None:
        self._world = world
        self._slug = slug
        self._document = document
        self.asked: set[tuple[str, str]] = set()

    async def __call__(
        self, method: str, path: str, body: Any = None, *, query: str = "", **ids: str
    ) -> Any:
        self.asked.add((method.lower(), path))
        answer = await self._world.send(method, path.format(**ids) + query, self._slug, body)
        told = self._document["paths"][path][method.lower()]["responses"]["200"]
        shape = told["content"]["application/json"]["schema"]
        assert misfits(self._document, shape, answer) == [], (method, path)
        return answer


async def _endpoints(ask: _Described) -> None:
    full = {"headers": {"x-a": "b"}, "rateLimit": 5, "schedule": [5], "events": ["test.ping"]}
    made = await ask("POST", "/v1/endpoint", HOOK | full)
    await ask("POST", "/v1/endpoint", HOOK | {"algorithm": "v1a"})
    await ask("GET", "/v1/endpoint")
    one = "/v1/endpoint/{endpoint_id}"
    ids = {"endpoint_id": made["id"]}
    await ask("GET", one, **ids)
    await ask("PATCH", one, {"concurrency": 5}, **ids)
    await ask("POST", f"{one}/test", **ids)
    await ask("POST", f"{one}/check", **ids)
    await ask("POST", f"{one}/disable", {"reason": "why not"}, **ids)
    await ask("POST", f"{one}/enable", **ids)
    await ask("POST", f"{one}/rotate-secret", {}, **ids)
    await ask("POST", f"{one}/rotate-secret", {"algorithm": "v1a"}, **ids)
    await ask("DELETE", one, **ids)
    await ask("GET", "/v1/endpoint/default-secret")
    await ask("POST", "/v1/endpoint/default-secret/rotate", {"algorithm": "v1a"})
    await ask("GET", "/.well-known/jwks.json", query=f"?endpoint={made['id']}")


async def _deliveries(ask: _Described, endpoint_id: str, delivery_id: str) -> None:
    ids = {"endpoint_id": endpoint_id, "delivery_id": delivery_id}
    await ask("GET", "/v1/delivery")
    await ask("GET", "/v1/delivery/{delivery_id}", **ids)
    for act in ("recover", "replay-missing"):
        path = "/v1/endpoint/{endpoint_id}/" + act
        assert await ask("POST", path, _SINCE | {"dryRun": True}, **ids)
        begun = await ask("POST", path, _SINCE, **ids)
    for since in (
        {"since": "2001-01-01T00:00:00Z"},
        {"since": "2001-01-01T00:00:00Z", "dryRun": True},
    ):
        await ask("POST", "/v1/delivery/recover", since)
    await ask("POST", "/v1/delivery/resend", {"filter": {"job": [NOBODY]}, "dryRun": True})
    begun = await ask("POST", "/v1/delivery/resend", {"filter": {"endpoint": [endpoint_id]}})
    await ask("POST", "/v1/delivery/{delivery_id}/resend", **ids)
    await ask("GET", "/v1/bulk")
    await ask("GET", "/v1/bulk/{operation_id}", operation_id=begun["id"])
    await ask("POST", "/v1/bulk/{operation_id}/stop", operation_id=begun["id"])


async def test_every_answer_is_as_described(world: World, acme: str) -> None:
    document = (await world.call("GET", "/schema/openapi.json")).json()
    ask = _Described(world, acme, document)
    to = await endpoint(world, acme)
    await delivery(world, acme, to, state="parked")
    made = await failed(world, acme, to)

    await _endpoints(ask)
    await _deliveries(ask, to, made)

    described = {
        (method, path)
        for path, operations in document["paths"].items()
        for method in operations
        if path.startswith(_AREAS)
    }
    assert ask.asked == described


async def test_bodies_and_filters_are_described(world: World) -> None:
    document = (await world.call("GET", "/schema/openapi.json")).json()
    shapes, paths = document["components"]["schemas"], document["paths"]

    change = paths["/v1/endpoint/{endpoint_id}"]["patch"]["requestBody"]["content"]
    assert change["application/json"]["schema"]["$ref"].endswith("/EndpointChange")
    assert shapes["EndpointChange"]["required"] == []
    assert not {"algorithm", "secret"} & shapes["EndpointChange"]["properties"].keys()
    assert shapes["EndpointIn"]["required"] == ["url"]
    assert shapes["ResendIn"]["properties"]["filter"]["$ref"].endswith("/ResendFilter")
    filters = {one["name"]: one for one in paths["/v1/delivery"]["get"]["parameters"]}
    assert {"endpoint", "status", "event", "job", "outcome", "resentAfter"} <= filters.keys()
    assert filters["outcome"]["schema"]["items"]["$ref"].endswith("/Outcome")
    assert "http_5xx" in shapes["Outcome"]["enum"]
    assert paths["/.well-known/jwks.json"]["get"]["security"] == []


def _shape(**more: Any) -> Any:
    inner = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]}
    return {"oneOf": [inner | more, {"type": "null"}]}


async def test_the_check_finds_differences() -> None:
    assert misfits({}, _shape(), {"a": "b"}) == misfits({}, _shape(), None) == []
    for wrong in ({}, {"a": 1}, {"a": True}, {"a": "b", "c": "d"}, [], "a"):
        assert misfits({}, _shape(), wrong) != []
    assert misfits({}, {"type": "array", "items": {"const": "x"}}, ["x", "y"]) == [
        "$[1] is 'y', not one of ['x']"
    ]


async def test_examples_in_the_docs_match_the_document(world: World) -> None:
    document = (await world.call("GET", "/schema/openapi.json")).json()
    text = "\n".join((ROOT / "docs" / page).read_text() for page in ("webhooks.md", "jobs.md"))
    page = MarkdownIt("commonmark").parse(text)
    examples = [token for token in page if token.info.startswith("json ")]

    for example in examples:
        shape = {"$ref": "/" + example.info.removeprefix("json ")}
        assert misfits(document, shape, json.loads(example.content)) == [], example.info
    assert len(examples) >= 9


async def test_every_filter_of_jobs_is_explained() -> None:
    page = (ROOT / "docs/jobs.md").read_text().partition("## Find them")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    explained = {name for cell in cells for name in re.findall(r"`(\w+)", cell)}

    assert explained == {field.encode_name for field in msgspec.structs.fields(JobsQuery)}


async def test_every_class_of_error_is_explained() -> None:
    section = (ROOT / "docs/errors.md").read_text().partition("## Why a webhook failed")[2]
    explained = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)

    unusual = {"delivered", "http_1xx"} | {f"http_{n}xx" for n in range(6, 10)}
    assert set(explained) == set(Outcome) - unusual
    assert set(get_args(FaultKind)) <= set(explained)


async def test_the_library_that_invents_examples_is_not_loaded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faker, 25 MB, is installed with Litestar; this test fails if something imports it."""
    examples = "litestar._openapi.schema_generation.examples"
    monkeypatch.setitem(sys.modules, examples, None)
    client = await world.serve()
    assert (await client.get("/schema/openapi.json")).status_code == 200
