"""Exports of jobs as CSV and NDJSON, and of a tenant: complete, or visibly broken off."""

import asyncio
import csv
import io
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from gateway.core.lifecycle import Finish, error_of, expired
from gateway.core.model import JobState, KeyKind
from gateway.errors import Unavailable
from gateway.flows.process.slots import Slots
from gateway.flows.read import export
from gateway.web import context
from gateway.web.respond import download as web_download
from gateway.web.respond.concurrency_limits import ConcurrencyLimit, stream_limit
from gateway.web.respond.download import Download
from tests.fakes import FixedClock
from tests.web.conftest import World, fields_of, next_page, problem
from tests.web.live import live, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _short_pages(world: World) -> AsyncIterator[None]:
    whole = world.deps
    world.deps = replace(whole, policy=replace(whole.policy, export_page=2))
    world.client = await world.serve()
    yield
    world.deps = whole


def _lines(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def _rows(world: World, key: str, query: str = "") -> list[dict[str, str]]:
    answer = await world.call("GET", f"/v1/job?format=csv{query}", key)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


class TestLines:
    @pytest.mark.parametrize("count", [0, 1, 2, 4, 5])
    async def test_have_everything_that_the_pages_have(
        self, world: World, acme: str, count: int
    ) -> None:
        for n in range(count):
            await world.job(acme, name=f"é {n}", metadata={"n": n})
        listed = await world.get("/v1/job", acme)

        accept = {"Accept": "text/html, application/x-ndjson;q=0.9"}
        answer = await world.call("GET", "/v1/job", acme, headers=accept)

        assert _lines(answer) == listed
        assert answer.headers["vary"] == "Accept"

    async def test_apply_the_filter_and_the_cursor(self, world: World, acme: str) -> None:
        made = [await world.job(acme, batchName="b") for _ in range(4)]
        await world.job(acme)
        first = await world.call("GET", "/v1/job?batchName=b&size=1", acme)
        link = next_page(first)

        answer = await world.call("GET", f"{link}&format=ndjson", acme)

        assert [job["id"] for job in _lines(answer)] == made[2::-1]

    async def test_are_single_lines_even_with_line_breaks_in_values(
        self, world: World, acme: str
    ) -> None:
        body = b'{"name":"n","workflow":"w","params":{\r\n"a":\n1}}'
        assert (await world.call("POST", "/v1/job", acme, content=body)).status_code == 200

        (line,) = _lines(await world.call("GET", "/v1/job?format=ndjson", acme))

        assert line["workflowParams"] == {"a": 1}

    async def test_show_workflows_as_the_newer_api_does(self, world: World, acme: str) -> None:
        await world.job(acme, workflow="unknown")

        (line,) = _lines(await world.call("GET", "/api/job?format=ndjson", acme))

        assert line["workflow"] == {"id": "unknown", "name": "unknown"}

    async def test_have_only_what_a_service_may_see(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        ids = [await world.job(acme), await world.job(globex)]
        service = await world.key(KeyKind.SERVICE, allowed_tenants=[acme, globex])
        query = "/v1/job?format=ndjson"

        assert {job["id"] for job in _lines(await world.call("GET", query, service))} == {*ids}
        mine = await world.call("GET", f"{query}&tenant={acme}", service)
        assert [job["id"] for job in _lines(mine)] == ids[:1]
        assert _lines(await world.call("GET", f"{query}&tenant=nobody", service)) == []


class TestTables:
    async def test_have_a_row_for_each_job(self, world: World, acme: str) -> None:
        done, failed, waiting = [
            await world.job(acme, name=f'a,"{n}"\n', batchName=None, metadata={"k": "é"})
            for n in range(3)
        ]
        await world.finish(done, Finish(JobState.SUCCEEDED, result='{"a": 1}'))
        await world.finish(failed, expired())
        shown = {job["id"]: job for job in await world.get("/v1/job", acme)}

        rows = await _rows(world, acme)

        assert [row["id"] for row in rows] == [waiting, failed, done]
        for row in rows:
            job = shown[row["id"]]
            for column in ("tenant", "state", "version"):
                assert row[column] == str(job["gateway"][column])
            for column in ("app", "name", "workflow", "status", "createdAt"):
                assert row[column] == job[column]
            assert row["completedAt"] == (job["completedAt"] or "")
            assert row["batchName"] == row["retryOf"] == ""
            assert json.loads(row["metadata"]) == job["metadata"] == {"k": "é"}
            assert json.loads(row["workflowParams"]) == job["workflowParams"]
        assert [row["errorCode"] for row in rows] == ["", "DEADLINE_EXCEEDED", ""]
        assert json.loads(rows[1]["error"]) == shown[failed]["error"]
        assert json.loads(rows[2]["result"]) == {"a": 1}

    async def test_have_their_header_without_any_row(self, world: World, acme: str) -> None:
        answer = await world.call("GET", "/v1/job", acme, headers={"Accept": "text/csv"})

        assert answer.content.startswith(b"\xef\xbb\xbfid,tenant,app,name,")
        day = world.deps.clock.now().strftime("%Y-%m-%d")
        named = f'attachment; filename="jobs-{day}.csv"'
        assert answer.headers["content-disposition"] == named
        assert len(answer.text.splitlines()) == 1

    async def test_have_no_formula(self, world: World, acme: str) -> None:
        names = ["=1+1", "+1", "-1", "@x", "\tx", "'x", "x=1", "\n=1", "\r=1"]
        names += ["\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", " =1"]
        for name in names:
            await world.job(acme, name=name)
        job_id = await world.job(acme, name="ends")
        await world.finish(job_id, Finish(JobState.SUCCEEDED, result="-2"))

        rows = (await _rows(world, acme))[::-1]

        assert [row["name"] for row in rows[:-1]] == [
            *("'=1+1", "'+1", "'-1", "'@x", "'\tx", "'x", "x=1", "'\n=1", "'\r=1"),
            *("'\uff1d1+1", "'\uff0b1", "'\uff0d1", "'\uff20x", " =1"),
        ]
        assert rows[-1]["result"] == "'-2"

    async def test_have_no_control_characters(self, world: World, acme: str) -> None:
        hostile = "a\x1b[2J\x07\x9b\u202e\u2028b"
        job_id = await world.job(acme, name=hostile, metadata={"k": hostile})
        await world.finish(job_id, Finish(JobState.FAILED, error=error_of("X", "T", hostile)))

        (row,) = await _rows(world, acme)

        shown = r"a\x1b[2J\x07\x9b\u202e\u2028b"
        assert row["name"] == row["errorMessage"] == shown
        assert "".join(row.values()).isprintable()

    async def test_have_the_durations(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        (waiting,) = await _rows(world, acme)
        await world.finish(job_id, expired())
        (ended,) = await _rows(world, acme)

        assert waiting["queueWaitSeconds"] == waiting["endToEndSeconds"] == ""
        assert float(ended["queueWaitSeconds"]) == float(ended["endToEndSeconds"]) >= 0
        assert ended["runSeconds"] == ""


async def test_json_is_the_default(world: World, acme: str) -> None:
    for query, accept in (
        ("", "*/*"),
        ("?format=json", "text/csv"),
        ("", "application/json, text/csv;q=0.5"),
        ("", "application/x-ndjson;q=0, text/csv;q=inf"),
    ):
        answer = await world.call("GET", f"/v1/job{query}", acme, headers={"Accept": accept})
        assert (answer.json(), answer.headers["content-type"]) == ([], "application/json")


async def test_contradictory_parameters_are_refused(world: World, acme: str) -> None:
    for query, field in (("format=csv&page=1", "page"), ("format=xml", "format")):
        answer = await world.call("GET", f"/v1/job?{query}", acme)
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


async def test_head_has_the_headers_of_get(world: World, acme: str) -> None:
    await world.job(acme)
    answer = await world.call("HEAD", "/v1/job?format=ndjson", acme)

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/x-ndjson"


class TestTenants:
    async def test_are_exported_whole_and_without_secrets(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        await world.job(globex)
        jobs = [await world.job(acme, name=f"job {n}") for n in range(3)]
        url = "https://hooks.example/x"
        endpoint = await world.send("POST", "/v1/endpoint", acme, {"url": url})
        await world.finish(jobs[0], expired())

        lines = _lines(await world.call("GET", f"/admin/v1/tenant/{acme}/export", world.operator))

        tenant = await world.find(acme)
        kinds: dict[str, list[Any]] = {}
        for line in lines:
            kinds.setdefault(line.pop("kind"), []).append(line)
        assert {*kinds} == {
            *("tenant", "key", "credential", "endpoint", "job", "event", "delivery", "usage"),
            "audit",
        }
        assert kinds["tenant"][0]["id"] == str(tenant.id)
        assert [job["id"] for job in kinds["job"]] == jobs
        assert [(one["id"], one["url"]) for one in kinds["endpoint"]] == [(endpoint["id"], url)]
        assert kinds["event"][0]["body"]["data"]["id"] == jobs[0]
        assert endpoint["secret"] not in json.dumps(lines)
        assert f"key-of-{acme}" not in json.dumps(lines)
        assert globex not in json.dumps(lines)

    async def test_are_for_operators(self, world: World, acme: str) -> None:
        path = f"/admin/v1/tenant/{acme}/export"
        problem(await world.call("GET", path, acme), 403, "FORBIDDEN")
        problem(
            await world.call("GET", "/admin/v1/tenant/nobody/export", world.operator),
            404,
            "NOT_FOUND",
        )


# --- Ends ---------------------------------------------------------------------------------------


class _Reader:
    """A reader that takes what is sent, and disconnects when it is told to."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.left = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def is_whole(self) -> bool:
        return self.sent[-1].get("more_body") is False

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


def _download(
    chunks: AsyncGenerator[bytes], slots: Slots, streams: ConcurrencyLimit | None = None
) -> Download:
    return Download("text/csv", chunks, streams or stream_limit(), "o", lambda: slots.closing)


async def test_an_export_breaks_off_when_the_database_goes_away() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"a"
        raise Unavailable("gone")

    reader = _Reader()
    await _download(chunks(), Slots(FixedClock()))({}, reader.receive, reader.send)

    assert (reader.body, reader.is_whole) == (b"a", False)


async def test_a_database_that_is_away_is_503() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        raise Unavailable("gone")
        yield b""

    reader = _Reader()
    with pytest.raises(Unavailable):
        await _download(chunks(), Slots(FixedClock()))({}, reader.receive, reader.send)
    assert reader.sent == []


async def test_a_stopping_process_breaks_it_off() -> None:
    slots, reader = Slots(FixedClock()), _Reader()

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"a"
        slots.closing = True
        yield b"b"

    await _download(chunks(), slots)({}, reader.receive, reader.send)

    assert (reader.body, reader.is_whole) == (b"a", False)


async def test_a_stopping_process_refuses_it() -> None:
    slots, reader = Slots(FixedClock()), _Reader()

    async def chunks() -> AsyncGenerator[bytes]:
        slots.closing = True
        yield b"a"

    with pytest.raises(Unavailable) as refused:
        await _download(chunks(), slots)({}, reader.receive, reader.send)

    assert refused.value.retry_after
    assert reader.sent == []


async def test_a_reader_that_disconnects_ends_the_query() -> None:
    reader, is_closed = _Reader(), asyncio.Event()

    async def chunks() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"a"
                reader.left.set()
                await asyncio.sleep(0)
        finally:
            is_closed.set()

    await _download(chunks(), Slots(FixedClock()))({}, reader.receive, reader.send)

    assert is_closed.is_set()
    assert not reader.is_whole


async def test_a_page_under_way_is_dropped_when_the_reader_disconnects(
    world: World, acme: str
) -> None:
    for _ in range(5):
        await world.job(acme)
    tenant = await world.find(acme)
    pages = export.export_jobs(world.deps, export.JobFilter((tenant.id,)), "ndjson", None)

    assert (await anext(pages)).jobs == 2
    await pages.aclose()

    assert await world.get("/v1/job?size=1", acme)  # no connection was lost
    assert not [task for task in asyncio.all_tasks() if "after" in repr(task.get_coro())]


async def test_the_process_limits_its_exports() -> None:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"a"

    streams, reader = stream_limit(), _Reader()
    with streams.room("other"):
        await _download(chunks(), Slots(FixedClock()), streams)({}, reader.receive, reader.send)
    assert reader.is_whole


class TestOneWhoDoesNotRead:
    async def test_takes_no_memory_and_is_cut_off(
        self, world: World, acme: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(web_download, "IDLE_SECONDS", 0.5)
        count = await fill(world, acme)
        deps = replace(world.deps, slots=Slots(world.deps.clock))
        async with live(deps) as port:
            with await _unread(port, world.keys[acme]) as connection:
                await until(lambda: _is_over(world))
                answer = await _rest(connection)

        assert 0 < answer.count(b'"workflowParams"') < count
        assert not answer.endswith(b"0\r\n\r\n")


async def fill(world: World, slug: str) -> int:
    """More jobs than the buffers between two processes hold."""
    tenant = await world.find(slug)
    async with world.deps.db.begin() as tx:
        await tx.run(
            "INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at)"
            " SELECT gen_random_uuid(), $1, 'accepted', 'n', 'w', json_build_array(repeat('x',"
            " 40000)), '{}', now() FROM generate_series(1, 400)",
            tenant.id,
        )
    return 400


async def _unread(port: int, key: str) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    ask = f"GET /v1/job?format=ndjson HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n"
    await loop.sock_sendall(connection, ask.encode())
    return connection


async def _is_over(world: World) -> bool:
    return any(work == "http" for work, _, _ in world.observer.seen)


async def _rest(connection: socket.socket) -> bytes:
    loop, parts = asyncio.get_running_loop(), list[bytes]()
    async with asyncio.timeout(30):
        while part := await loop.sock_recv(connection, 65_536):
            parts.append(part)
    return b"".join(parts)


async def test_exports_and_streams_have_separate_limits(
    world: World, acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "export_limit", lambda: stream_limit(0))
    client, headers = await world.serve(), {"Authorization": world.keys[acme]}

    refused = await client.get("/v1/job?format=csv", headers=headers)
    stream = await client.head("/v1/event/stream", headers=headers)

    problem(refused, 429, "RATE_LIMITED")
    assert refused.headers["ratelimit-policy"] == '"streams";q=0'
    assert stream.is_success
