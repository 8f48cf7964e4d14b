"""HTTP/1.1 on the wire of the real server: strict, broken and hostile clients."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from gateway.web.capacity.limits import HttpLimits
from tests.web.conftest import GOOD, World
from tests.web.live import live

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 30
_BODY = json.dumps(GOOD).encode()
_MEMORY = 4 * 1024 * 1024


@dataclass
class Answer:
    """One answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self, status: int, code: str) -> str:
        """The detail of a refusal, which must be whole."""
        assert self.status == status, self
        assert self.headers["content-type"] == "application/problem+json"
        body = json.loads(self.body)
        assert (body["code"], body["status"]) == (code, status)
        assert body["requestId"] == self.headers["x-request-id"]
        assert self.headers["cache-control"] == "no-store"
        return body["detail"]


@dataclass
class Wire:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))
        await self.writer.drain()

    async def answer(self, method: str = "GET") -> Answer:
        async with asyncio.timeout(_SECONDS):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            status = int(first.split()[1])
            has_body = method != "HEAD" and status not in (100, 204, 304)
            size = int(headers.get("content-length", 0)) if has_body else 0
            return Answer(status, headers, await self.reader.readexactly(size))

    async def is_closed(self) -> bool:
        async with asyncio.timeout(_SECONDS):
            return await self.reader.read() == b""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def port(module_world: World) -> AsyncIterator[int]:
    async with live(module_world.deps, HttpLimits(body_memory_bytes=_MEMORY)) as opened:
        yield opened


@asynccontextmanager
async def wire(port: int) -> AsyncGenerator[Wire]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()


async def ask(port: int, request: bytes, method: str = "GET") -> Answer:
    async with wire(port) as one:
        await one.send(request)
        return await one.answer(method)


def head(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def post(key: str, *fields: str, length: int = len(_BODY)) -> bytes:
    given = (f"Authorization: {key}", f"Content-Length: {length}", *fields)
    return head("POST", "/v1/job", "Host: x", *given)


async def _unread(port: int, count: int, key: str, size: int) -> Sequence[Wire]:
    async def one() -> Wire:
        opened = Wire(*await asyncio.open_connection("127.0.0.1", port))
        await opened.send(post(key, length=size))
        return opened

    return [await one() for _ in range(count)]


class TestHost:
    @pytest.mark.parametrize(
        "fields",
        [(), ("Host:",), ("Host: a", "Host: b"), ("Host: a/b",), ("Host: a b",), ("Host: a@b",)],
    )
    async def test_is_required_once(self, port: int, fields: tuple[str, ...]) -> None:
        answer = await ask(port, head("GET", "/health/live", *fields))

        assert "Host" in answer.problem(400, "BAD_REQUEST")

    @pytest.mark.parametrize("host", ["x", "a.example:8000", "[::1]:80", "127.0.0.1"])
    async def test_may_be_any_name(self, port: int, host: str) -> None:
        assert (await ask(port, head("GET", "/health/live", f"Host: {host}"))).status == 200

    async def test_is_not_needed_by_older_clients(self, port: int) -> None:
        answer = await ask(port, head("GET", "/health/live", version="1.0"))

        assert answer.status == 200


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        [
            "//admin/v1/tenant",
            "/admin//v1/tenant",
            "/%61dmin/v1/tenant",
            "/admin%2fv1/tenant",
            "/admin%2Fv1%2ftenant",
            "/%2e/admin/v1/tenant",
            "/./admin/v1/tenant",
            "/v1/../admin/v1/tenant",
            "/v1/%2e%2e/admin/v1/tenant",
            "/%2561dmin/v1/tenant",
            "/Admin/v1/tenant",
            "/admin;a=b/v1/tenant",
            "/admin%3Ba/v1/tenant",
            "/\\admin/v1/tenant",
            "/%5cadmin/v1/tenant",
            "//metrics",
            "/%6detrics",
            "/metrics%00",
            "/nowhere",
            "/schema/nothing",
            "/v1/",
        ],
    )
    async def test_in_disguised_spellings_are_not_found(
        self, world: World, port: int, path: str
    ) -> None:
        key = f"Authorization: {world.operator}"

        (await ask(port, head("GET", path, "Host: x", key))).problem(404, "NOT_FOUND")

    async def test_may_be_absolute(self, world: World, port: int) -> None:
        key = f"Authorization: {world.operator}"

        answer = await ask(port, head("GET", "http://x/admin/v1/tenant", "Host: x", key))

        assert answer.status == 200

    async def test_may_have_characters_that_need_encoding(self, world: World, port: int) -> None:
        key = f"Authorization: {world.operator}"

        answer = await ask(port, head("GET", "/admin/v1/tenant/a%20b", "Host: x", key))

        assert "'a b'" in answer.problem(404, "NOT_FOUND")


class TestMethods:
    async def test_options_of_the_server(self, port: int) -> None:
        answer = await ask(port, head("OPTIONS", "*", "Host: x"))

        assert answer.status == 200
        assert {"GET", "POST", "DELETE"} <= set(answer.headers["allow"].split(", "))

    async def test_options_of_a_route(self, port: int) -> None:
        answer = await ask(port, head("OPTIONS", "/v1/job", "Host: x"))

        assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")

    @pytest.mark.parametrize("method", ["PUT", "TRACE", "BREW", "PATCH"])
    async def test_others_are_refused(self, port: int, method: str) -> None:
        answer = await ask(port, head(method, "/v1/job", "Host: x", "Content-Length: 0"))

        answer.problem(405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"

    async def test_head_has_no_body(self, world: World, acme: str, port: int) -> None:
        fields = ("Host: x", f"Authorization: {world.keys[acme]}")
        async with wire(port) as one:
            await one.send(head("HEAD", "/v1/application", *fields))
            bodiless = await one.answer("HEAD")
            await one.send(head("GET", "/v1/application", *fields, "Range: bytes=0-1"))
            full = await one.answer()

        assert bodiless.headers["content-length"] == str(len(full.body))
        assert (bodiless.status, full.status) == (200, 200), "ranges are ignored"


class TestBodies:
    @pytest.mark.parametrize(
        ("field", "told"),
        [
            ("Content-Encoding: gzip", ("accept-encoding", "identity")),
            ("Content-Encoding: identity, br", ("accept-encoding", "identity")),
            ("Content-Type: application/xml", ("accept", "application/json")),
            ("Content-Type: multipart/form-data; boundary=x", ("accept", "application/json")),
            ("Content-Type: text/json; charset=utf-16", ("accept-post", "application/json")),
        ],
    )
    async def test_of_other_media_types_are_refused(
        self, world: World, acme: str, port: int, field: str, told: tuple[str, str]
    ) -> None:
        answer = await ask(port, post(world.keys[acme], field) + _BODY)

        assert field.partition(":")[0] in answer.problem(415, "UNSUPPORTED_MEDIA_TYPE")
        assert told in answer.headers.items()

    @pytest.mark.parametrize(
        "kind",
        [
            "application/json",
            "application/json; charset=UTF-8",
            'Application/JSON;Charset="utf-8"',
            "application/vnd.acme+json",
            "text/plain;charset=utf-8",
            "application/x-www-form-urlencoded",
        ],
    )
    async def test_of_all_json_media_types(
        self, world: World, acme: str, port: int, kind: str
    ) -> None:
        fields = (f"Content-Type: {kind}", "Content-Encoding: identity")

        assert (await ask(port, post(world.keys[acme], *fields) + _BODY)).status == 200

    async def test_that_are_empty_need_no_media_type(
        self, world: World, acme: str, port: int
    ) -> None:
        fields = ("Content-Type: text/csv", "Content-Encoding: gzip")

        answer = await ask(port, post(world.keys[acme], *fields, length=0))

        assert "empty" in answer.problem(400, "BAD_REQUEST")

    async def test_a_refused_patch_names_its_media_types(
        self, world: World, acme: str, port: int
    ) -> None:
        fields = ("Host: x", f"Authorization: {world.operator}", "Content-Length: 2")
        path = f"/admin/v1/tenant/{acme}"
        asked = (head("PATCH", path, *fields, f"Content-Type: {kind}") + b"{}" for kind in (
            "application/merge-patch+json", "application/json", "text/csv"
        ))  # fmt: skip

        merged, plain, refused = [await ask(port, one) for one in asked]

        assert (merged.status, plain.status) == (200, 200)
        refused.problem(415, "UNSUPPORTED_MEDIA_TYPE")
        assert refused.headers["accept-patch"] == "application/merge-patch+json, application/json"

    @pytest.mark.parametrize(
        "body", [b"\xef\xbb\xbf" + _BODY, _BODY.decode().encode("utf-16"), _BODY.decode().encode("utf-16-be")]
    )  # fmt: skip
    async def test_in_other_encodings(
        self, world: World, acme: str, port: int, body: bytes
    ) -> None:
        answer = await ask(port, post(world.keys[acme], length=len(body)) + body)

        assert "byte order mark" in answer.problem(400, "BAD_REQUEST")

    @pytest.mark.parametrize("path", ["/v1/job", "/v1/endpoint", "/admin/v1/tenant"])
    @pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabcdeXX", b"-1\r\n\r\n"])
    async def test_that_are_broken(self, world: World, port: int, path: str, body: bytes) -> None:
        is_admin = path.startswith("/admin")
        key = world.operator if is_admin else world.keys[await world.tenant("acme")]
        fields = ("Host: x", f"Authorization: {key}", "Transfer-Encoding: chunked")
        async with wire(port) as one:
            await one.send(head("POST", path, *fields), body)
            answer = await one.answer()
            answer.problem(400, "BAD_REQUEST")
            assert answer.headers["connection"] == "close"
            assert await one.is_closed()

    async def test_that_end_too_soon(self, world: World, acme: str, port: int) -> None:
        async with wire(port) as one:
            await one.send(post(world.keys[acme]), _BODY[:5])
            one.writer.write_eof()

            assert "broke off" in (await one.answer()).problem(400, "BAD_REQUEST")

    async def test_that_are_discarded_leave_the_connection_usable(self, port: int) -> None:
        async with wire(port) as one:
            await one.send(post("none", length=200_000))
            (await one.answer()).problem(401, "UNAUTHORIZED")
            await one.send(b" " * 200_000, head("GET", "/health/live", "Host: x"))

            assert (await one.answer()).status == 200

    async def test_after_expect_100_continue(self, world: World, acme: str, port: int) -> None:
        async with wire(port) as one:
            await one.send(post(world.keys[acme], "Expect: 100-continue"))
            assert (await one.answer()).status == 100
            await one.send(_BODY)
            assert (await one.answer()).status == 200
            await one.send(post("none", "Expect: 100-continue"))
            (await one.answer()).problem(401, "UNAUTHORIZED")
            assert await one.is_closed()

    async def test_without_a_key_take_no_memory(self, world: World, acme: str, port: int) -> None:
        """More of them than fit: all are refused, and one with a key is still accepted."""
        size = 1024 * 1024
        opened = await _unread(port, 16, "none", size)
        try:
            for one in opened:
                (await one.answer()).problem(401, "UNAUTHORIZED")
                await one.send(bytes(size - 10))
            assert (await ask(port, post(world.keys[acme]) + _BODY)).status == 200
        finally:
            for one in opened:
                one.writer.close()

    async def test_of_one_tenant_leave_room_to_others(
        self, world: World, acme: str, port: int
    ) -> None:
        globex = await world.tenant("globex")
        size = 1024 * 1024
        opened = await _unread(port, 3, world.keys[acme], size)
        refused = [asyncio.create_task(one.answer()) for one in opened]
        try:
            for one in opened:
                await one.send(bytes(size - 10))
            done, _ = await asyncio.wait(
                refused, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                answer = await task
                answer.problem(503, "UNAVAILABLE")
                assert answer.headers["retry-after"] == "1"
            padded = _BODY[:-1] + b" " * 900_000 + b"}"
            answer = await ask(port, post(world.keys[globex], length=len(padded)) + padded)
            assert (len(done), answer.status) == (1, 200)
        finally:
            for task in refused:
                task.cancel()
            for one in opened:
                one.writer.close()


async def test_responses_with_secrets_are_not_cached(world: World, acme: str, port: int) -> None:
    fields = ("Host: x", f"Authorization: {world.keys[acme]}")

    answers = [
        await ask(port, head("GET", path, *fields))
        for path in ("/v1/endpoint/default-secret", "/v1/job", "/v1/application")
    ]

    assert [one.headers["cache-control"] for one in answers] == ["no-store"] * 3


async def test_preferences_on_two_lines_are_one_list(world: World, acme: str, port: int) -> None:
    fields = ("Prefer: respond-async", "Prefer: wait=0")

    answer = await ask(port, post(world.keys[acme], *fields) + _BODY)

    assert answer.headers["preference-applied"] == "wait=0"


async def test_accept_on_two_lines_is_one_list(world: World, acme: str, port: int) -> None:
    fields = ("Host: x", f"Authorization: {world.keys[acme]}")
    two = ("Accept: application/json;q=0.1", "Accept: text/csv")

    answer = await ask(port, head("GET", "/v1/usage", *fields, *two))
    other = await ask(port, head("GET", "/v1/usage", *fields, "Accept: image/png"))

    assert answer.headers["content-type"].startswith("text/csv")
    assert other.headers["content-type"] == "application/json", "rather than 406"
