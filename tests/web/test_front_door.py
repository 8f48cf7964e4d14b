"""The front door: request ids, bodies, repeated headers, reports, and unexpected errors."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar.exceptions import ClientException
from typing_extensions import override

from gateway.ports import Access, Upload
from gateway.store.database import open_database
from gateway.web.app import create_app
from gateway.web.respond.problem_details import problem_of
from tests.fakes import FakeUpstream
from tests.web.conftest import GOOD, NOBODY, World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("given", ["abc-123", "x" * 128, "!~"])
async def test_a_callers_request_id_is_kept(world: World, given: str) -> None:
    answer = await world.call("GET", "/health/live", headers={"X-Request-Id": given})

    assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "\xe9", "a\tb"])
async def test_a_malformed_request_id_is_replaced(world: World, given: str) -> None:
    headers = {"X-Request-Id": given.encode("latin-1")}

    answer = await world.call("GET", "/health/live", headers=headers)

    assert len(answer.headers["x-request-id"]) == 36


async def test_two_request_ids_are_replaced(world: World) -> None:
    answer = await world.client.get(
        "/health/live", headers=[("X-Request-Id", "a"), ("X-Request-Id", "b")]
    )

    assert len(answer.headers["x-request-id"]) == 36


@pytest.mark.parametrize("path", ["/v1/job", "/v1/application"])
async def test_two_access_keys_are_refused(world: World, acme: str, path: str) -> None:
    key = world.keys[acme]

    answer = await world.client.get(path, headers=[("Authorization", key), ("Authorization", key)])

    problem(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["Idempotency-Key", "Gateway-Tenant", "Content-Type"])
async def test_headers_that_may_occur_once_are_refused_twice(
    world: World, acme: str, name: str
) -> None:
    headers = [("Authorization", world.keys[acme]), (name, "a"), (name, "b")]

    answer = await world.client.post("/v1/job", headers=headers, json=GOOD)

    assert problem(answer, 400, "BAD_REQUEST")["errors"][0]["field"] == name
    assert await world.count(acme) == 0


async def _chunks(count: int, size: int = 1000) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * size


@pytest.mark.parametrize("path", ["/v1/job", "/v1/endpoint"])
async def test_a_body_over_the_cap_is_refused(world: World, acme: str, path: str) -> None:
    whole = await world.call("POST", path, acme, content=b" " * 65_537)
    chunked = await world.call("POST", path, acme, content=_chunks(100))

    for answer in (whole, chunked):
        assert "65536" in problem(answer, 413, "PAYLOAD_TOO_LARGE")["detail"]


async def test_a_body_as_large_as_the_cap_is_read(world: World, acme: str) -> None:
    body = problem(
        await world.call("POST", "/v1/job", acme, content=b" " * 65_536), 400, "BAD_REQUEST"
    )

    assert "empty" in body["detail"]


async def test_requests_are_reported_by_route(world: World, acme: str) -> None:
    await world.job(acme)
    await world.call("GET", f"/v1/job/{NOBODY}", acme)
    await world.call("BREW", "/nowhere")
    await world.call("GET", "/health/live")

    seen = [
        (outcome, f["method"], f["route"], f["tenant"])
        for work, outcome, f in world.observer.seen
        if work == "http"
    ]
    assert seen == [
        ("200", "POST", "/v1/job", acme),
        ("404", "GET", "/v1/job/{job_id}", acme),
        ("404", "other", "", None),
    ]


async def test_head_is_get_without_a_body(world: World, acme: str) -> None:
    answer = await world.call("HEAD", "/v1/application", acme)
    full = await world.call("GET", "/v1/application", acme)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == full.headers["content-length"]


async def test_options_names_the_methods(world: World) -> None:
    answer = await world.call("OPTIONS", f"/v1/job/{NOBODY}")

    assert answer.status_code == 204
    assert {"GET", "DELETE"} <= set(answer.headers["allow"].split(", "))


class _Broken(FakeUpstream):
    @override
    async def upload(self, access: Access) -> Upload:
        raise RuntimeError("the password is hunter2")


async def test_an_unexpected_error_shows_no_details(
    world: World, acme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world.client = await world.serve(catalogue=_Broken())

    body = problem(await world.call("GET", "/v1/upload", acme), 500, "INTERNAL_ERROR")

    assert "hunter2" not in str(body)
    logged = capsys.readouterr().out
    assert body["requestId"] in logged
    assert world.keys[acme] not in logged


async def test_an_unexpected_error_of_post_job_is_answered_too(world: World, acme: str) -> None:
    class _Sender:
        async def refusal(self, url: str) -> str | None:
            raise RuntimeError(url)

    world.client = await world.serve(sender=_Sender())
    job = GOOD | {"callbackUrl": "https://hooks.example.com/"}

    problem(await world.call("POST", "/v1/job", acme, json=job), 500, "INTERNAL_ERROR")


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/job"), ("GET", "/v1/job")])
async def test_without_the_database_nothing_is_accepted(
    world: World, acme: str, method: str, path: str, unused_tcp_port: int
) -> None:
    away = open_database(
        f"postgresql+asyncpg://nobody@127.0.0.1:{unused_tcp_port}/none", pool=2, name="test"
    )
    world.client = await world.serve(db=away)

    answer = await world.call(method, path, acme, json=GOOD if method == "POST" else None)

    problem(answer, 503, "UNAVAILABLE")
    assert int(answer.headers["retry-after"]) >= 1
    await away.close()


async def test_other_protocols_are_refused(world: World) -> None:
    app = create_app(world.deps)
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/v1/job", "headers": [], "query_string": b""}
    await app(scope, receive, send)

    assert sent[-1]["type"] == "websocket.close"


async def test_errors_of_litestar_are_problem_details() -> None:
    told, _, _ = problem_of(ClientException("too odd", status_code=415), "id")

    assert (told.status, told.code, told.detail) == (400, "BAD_REQUEST", "too odd")
