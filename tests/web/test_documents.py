"""The OpenAPI documents and the reference page: constant, valid, complete, and in plain words."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from typing_extensions import override

from gateway.core.events import EVENT_TYPES
from gateway.web.openapi.catalogue import CataloguedEvent, event_catalogue
from gateway.web.openapi.document import main_document, older_document
from gateway.web.openapi.events import WEBHOOK, event_name
from tests.web.conftest import World
from tests.web.shape import misfits

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PAGES = ("/schema/openapi.json", "/schema/api.json", "/docs", "/")
_FACES = {"/schema/openapi.json": main_document, "/schema/api.json": older_document}
_MODULE = re.compile(
    r"\.py\b|\b(core|store|flows|adapters|web)/|\bgateway\.(core|store|flows|web)\b"
)
_VERBS = (
    *("create", "list", "get", "update", "delete", "retry", "cancel", "test", "enable", "disable"),
    *("rotate", "recover", "replay", "resend", "stop", "stream", "suspend", "resume", "put"),
    *("export", "revoke", "whoami", "search", "end", "check"),
)


def _operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method, path, one)
        for path, operations in document["paths"].items()
        for method, one in operations.items()
    ]


@pytest.mark.parametrize("path", _PAGES)
async def test_the_same_bytes_each_time_with_a_tag(world: World, path: str) -> None:
    first, second = [await world.call("GET", path) for _ in range(2)]
    other = await (await world.serve()).get(path)

    assert first.status_code == 200
    assert first.content == second.content == other.content
    tag = first.headers["etag"]
    assert tag == second.headers["etag"] == other.headers["etag"]
    assert "max-age" in first.headers["cache-control"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = await world.call("GET", path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
    assert (await world.call("GET", path, headers={"If-None-Match": '"x"'})).status_code == 200
    assert (await world.call("HEAD", path)).headers["etag"] == tag


@pytest.mark.parametrize("path", _FACES)
async def test_a_document_is_valid(world: World, path: str) -> None:
    document = (await world.call("GET", path)).json()
    assert document == _FACES[path]() == (await world.call("GET", path)).json()
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


@pytest.mark.parametrize("document", [main_document(), older_document()], ids=["main", "older"])
class TestWords:
    async def test_everything_is_described(self, document: Any) -> None:
        """What fails here wants a line in gateway/web/openapi/glossary.py."""
        silent = [
            f"{one['operationId']}: {parameter['name']}"
            for _, _, one in _operations(document)
            for parameter in one.get("parameters", ())
            if not parameter["description"]
        ]
        silent += [
            f"{name}.{field}"
            for name, shape in document["components"]["schemas"].items()
            for field, inner in shape.get("properties", {}).items()
            if not inner.get("description")
        ]
        silent += [
            name
            for name, shape in document["components"]["schemas"].items()
            if not shape.get("description")
        ]
        silent += [
            one["operationId"]
            for _, _, one in _operations(document)
            if not (one["summary"] and one["description"])
        ]
        assert silent == []

    async def test_no_text_names_a_module(self, document: Any) -> None:
        text = json.dumps({**document, "paths": list(document["paths"].values())})
        assert _MODULE.findall(text) == []

    async def test_operation_ids_are_method_names(self, document: Any) -> None:
        names = [one["operationId"] for _, _, one in _operations(document)]

        assert len(names) == len(set(names))
        assert [name for name in names if not name.startswith(_VERBS)] == []

    async def test_times_and_ids_have_formats(self, document: Any) -> None:
        for name, shape in document["components"]["schemas"].items():
            for field, inner in shape.get("properties", {}).items():
                text = json.dumps(inner)
                if re.search(r"(At|After|Before|[sS]ince|Until)$", field):
                    assert "date-time" in text, f"{name}.{field}"
                if re.fullmatch(r"id|(job|event|delivery|endpoint)Id", field):
                    assert (
                        "uuid" in text or name in ("WorkflowNamed", "HitOut") or "null" in text
                    ), name

    async def test_nothing_optional_has_a_default(self, document: Any) -> None:
        assert '"default"' not in json.dumps(document)

    async def test_examples_match_their_schemas(self, document: Any) -> None:
        shapes = document["components"]["schemas"]
        for name, shape in shapes.items():
            for example in shape.get("examples", ()):
                assert misfits(document, {"$ref": f"#/components/schemas/{name}"}, example) == []
        for _, _, one in _operations(document):
            if "requestBody" in one:
                body = one["requestBody"]["content"]["application/json"]["schema"]
                assert shapes[body["$ref"].rpartition("/")[2]]["examples"], one["operationId"]

    async def test_every_error_is_problem_details(self, document: Any) -> None:
        for _, _, one in _operations(document):
            for status, response in one["responses"].items():
                if status >= "4" and "$ref" in response:
                    name = response["$ref"].rpartition("/")[2]
                    content = document["components"]["responses"][name]["content"]
                    assert list(content) == ["application/problem+json"]
            assert {"400", "500", "503"} <= one["responses"].keys()

    async def test_every_event_has_a_webhook(self, document: Any) -> None:
        assert tuple(document["webhooks"]) == EVENT_TYPES
        union = document["components"]["schemas"][WEBHOOK]
        mapping = union["discriminator"]["mapping"]
        assert {type_: one.rpartition("/")[2] for type_, one in mapping.items()} == {
            type_: event_name(type_) for type_ in EVENT_TYPES
        }


async def test_the_filter_by_metadata_is_an_object(world: World, acme: str) -> None:
    parameters = main_document()["paths"]["/v1/job"]["get"]["parameters"]
    [metadata] = [one for one in parameters if one["name"] == "metadata"]
    assert (metadata["style"], metadata["explode"]) == ("deepObject", True)

    made = await world.job(acme, metadata={"order": "7", "a.b[c]": "d"})
    await world.job(acme, metadata={"order": "8"})
    for query in (
        "metadata.order=7",
        "metadata[order]=7",
        "metadata%5Border%5D=7",
        "metadata[a.b[c]]=d",
        "metadata.a.b[c]=d",
        "metadata[order]=7&metadata.order=9",
    ):
        found = await world.get(f"/v1/job?{query}", acme)
        assert [one["id"] for one in found] == [made], query


async def test_jobs_have_their_media_types() -> None:
    paths = main_document()["paths"]
    listed = paths["/v1/job"]["get"]["responses"]["200"]["content"]
    assert list(listed) == ["application/json", "text/csv", "application/x-ndjson"]
    made = paths["/v1/job"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    names = [one["$ref"].rpartition("/")[2] for one in made["anyOf"]]
    assert names == ["JobOut", "JobStatus", "JobMade"]
    assert "304" in paths["/v1/job/{job_id}"]["get"]["responses"]


class _Looked(HTMLParser):
    """The links of a page, and everything that would load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loading: list[str] = []
        self.feed(page)

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given["id"] or ""} if "id" in given else set()
        self.links |= {given["href"] or ""} if "href" in given else set()
        if tag in ("script", "link", "img", "iframe", "object", "embed") or "src" in given:
            self.loading.append(tag)


async def test_the_page_has_everything_and_loads_nothing(world: World) -> None:
    answer = await world.call("GET", "/docs")
    looked = _Looked(answer.text)
    document = main_document()

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert looked.loading == []
    assert {link for link in looked.links if link.startswith(("http:", "https:", "//"))} == set()
    anchors = {link[1:] for link in looked.links if link.startswith("#")} - {""}
    assert anchors <= looked.ids
    assert {one["operationId"] for _, _, one in _operations(document)} <= anchors
    assert set(document["components"]["schemas"]) <= anchors
    for text in ("curl -s", "$KEY", "$OKEY", "BAD_REQUEST", "job.succeeded"):
        assert text in answer.text
    for other in looked.links - {f"#{one}" for one in anchors} - {"#"}:
        assert (await world.call("GET", f"/{other}")).status_code == 200, other


async def test_the_first_page_leads_to_the_reference(world: World) -> None:
    looked = _Looked((await world.call("GET", "/")).text)

    assert {"docs", "schema/openapi.json"} <= looked.links
    for link in looked.links:
        assert (await world.call("GET", f"/{link}")).status_code == 200, link


@pytest.mark.parametrize("event", event_catalogue(), ids=lambda one: one.type)
async def test_the_catalogue_has_a_schema_that_stands_alone(event: CataloguedEvent) -> None:
    schema, example = json.loads(event.schema), json.loads(event.example)
    alone = {"components": {"schemas": schema["$defs"]}}
    assert misfits(alone, schema, example) == []
    assert misfits(alone, schema, example | {"data": {}}) != []
    assert misfits(alone, schema, example | {"type": "job.exploded"}) != []
    assert "#/components" not in event.schema
    assert event.meaning.endswith(".")


async def test_the_catalogue_has_every_type() -> None:
    assert [one.type for one in event_catalogue()] == list(EVENT_TYPES)
