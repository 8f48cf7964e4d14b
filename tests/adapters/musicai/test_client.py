"""MusicAi against servers that answer well, badly, or not at all."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest
import trustme

from gateway.adapters.clock import SystemClock
from gateway.adapters.musicai.client import Deadlines, MusicAi
from gateway.adapters.tls import shared_authorities
from gateway.core.crypto.cipher import Secret
from gateway.ports import (
    Absent,
    Access,
    Busy,
    Denied,
    Refused,
    Submission,
    Submitted,
    Unknown,
    Upload,
    UpstreamJob,
    UpstreamProblem,
    Workflow,
)
from tests.adapters.raw_server import (
    Act,
    RawServer,
    drop,
    hang,
    reply,
    reset,
    serving,
    then_close,
)
from tests.builders import TRACEPARENT

KEY = "3f1c0c9e-key"
HTML = "<html><body>Bad gateway</body></html>"
ID = "0b7a0f8e-5a53-4b7c-9c3e-7d1f0a5a0001"


def access(base_url: str, key: str = KEY) -> Access:
    return Access(UUID(int=1), base_url, Secret(key))


def submission(name: str = "a job", copy: str | None = None) -> Submission:
    return Submission(name, "music-ai/stems", '{"inputUrl":"https://a/b"}', '{"k":"v"}', copy)


def client(**deadlines: float) -> MusicAi:
    return MusicAi(SystemClock(), user_agent="job-gateway/1", deadlines=Deadlines(**deadlines))


@pytest.fixture
async def upstream() -> AsyncIterator[MusicAi]:
    found = client()
    yield found
    await found.close()


async def submitted(upstream: MusicAi, *acts: Act) -> object:
    async with serving(*acts) as server:
        return await upstream.submit(access(server.url), submission())


# --- What is sent -----------------------------------------------------------------------------


async def test_a_submission_is_sent_as_documented(upstream: MusicAi) -> None:
    async with serving(reply(200, '{"id":"j1"}', "Set-Cookie: a=b")) as server:
        copy = '{"vocals": "https://put/here"}'
        assert await upstream.submit(access(server.url), submission(copy=copy)) == Submitted("j1")
        assert await upstream.submit(access(server.url), submission('"\u00e9')) == Submitted("j1")
    first, second = server.requests
    head, _, body = first.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/job HTTP/1.1"
    sent = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert sent == {
        "host": f"127.0.0.1:{server.port}",
        "authorization": KEY,
        "user-agent": "job-gateway/1",
        "accept": "application/json",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == {
        "name": "a job",
        "workflow": "music-ai/stems",
        "params": {"inputUrl": "https://a/b"},
        "metadata": {"k": "v"},
        "copyResultsTo": {"vocals": "https://put/here"},
    }
    again = json.loads(second.partition(b"\r\n\r\n")[2])
    assert again["name"] == '"\u00e9'
    assert "copyResultsTo" not in again
    assert b"cookie" not in second.lower()
    assert server.connections == 1


async def test_the_environment_names_no_proxy(
    upstream: MusicAi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await submitted(upstream, reply(200, '{"id":"j1"}')) == Submitted("j1")


# --- What a submission can come to ------------------------------------------------------------

REASON = '{"code":"BAD_INPUT","title":"Invalid input","message":"File not found."}'
GIVEN = UpstreamProblem("BAD_INPUT", "Invalid input", "File not found.")


async def test_a_trace_context_is_sent_along_where_there_is_one(upstream: MusicAi) -> None:
    async with serving(reply(200, '{"id":"j1"}')) as server:
        here = access(server.url)
        await upstream.submit(here, submission())
        await upstream.submit(here, replace(submission(), traceparent=TRACEPARENT))
        await upstream.status(here, "j1")
    sent = [head.lower().count(b"\r\ntraceparent: ") for head in server.requests]
    assert sent == [0, 1, 0]
    assert f"traceparent: {TRACEPARENT}".encode() in server.requests[1].lower()


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (400, REASON, GIVEN),
        (
            422,
            "",
            UpstreamProblem(
                "HTTP_422", HTTPStatus(422).phrase, "The upstream answered 422 without a reason."
            ),
        ),
        (404, REASON, GIVEN),
        (409, '"just text"', UpstreamProblem("HTTP_409", "Conflict", "just text")),
        (400, '{"message":["a","b"]}', UpstreamProblem("HTTP_400", "Bad Request", '["a", "b"]')),
        (
            400,
            '{"code":7,"message":"no key 3f1c0c9e-key \\u0000\\ud800"}',
            UpstreamProblem("HTTP_400", "Bad Request", "no key [key] \ufffd\ufffd"),
        ),
        (
            499,
            '{"message":"' + "x" * 9000 + '"}',
            UpstreamProblem("HTTP_499", "Upstream error", "x" * 2000),
        ),
    ],
)
async def test_4xx_refuses_in_the_upstreams_words(
    upstream: MusicAi, status: int, body: str, problem: UpstreamProblem
) -> None:
    assert await submitted(upstream, reply(status, body)) == Refused(status, problem)


@pytest.mark.parametrize("body", [HTML, "", "{}", '"text"'])
async def test_a_404_that_the_api_did_not_say_fails_no_job(upstream: MusicAi, body: str) -> None:
    wrong = Busy("answer 404 without a reason: the base URL is probably wrong")
    assert await submitted(upstream, reply(404, body)) == wrong


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_a_credential_that_is_not_honoured(upstream: MusicAi, status: int) -> None:
    assert await submitted(upstream, reply(status, REASON)) == Denied(status, GIVEN)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 7", 7.0),
        ("Retry-After: 2.5", 2.5),
        ("Retry-After: 999999", 86_400.0),
        ("Retry-After: -4", None),
        ("Retry-After: 1e3", None),
        ("Retry-After: soon", None),
        ("Retry-After: Fri, 99 Foo 2026 99:99:99 GMT", None),
        ("Retry-After: Sun, 06 Nov 1994 08:49:37 GMT", None),
        ("Retry-After: Sun, 06 Nov 1994 08:49:37 -0000", None),
        ("X-Other: 1", None),
    ],
)
async def test_429_and_5xx_tell_when_to_come_back(
    upstream: MusicAi, header: str, seconds: float | None
) -> None:
    busy = await submitted(upstream, reply(429, HTML, header))
    assert isinstance(busy, Busy)
    assert (busy.limited, busy.retry_after) == (True, seconds)
    assert await submitted(upstream, reply(503, HTML, header)) == Unknown("answer 503", seconds)


async def test_retry_after_may_be_a_date(upstream: MusicAi) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    busy = await submitted(upstream, reply(429, "", f"Retry-After: {at}"))
    assert isinstance(busy, Busy)
    assert busy.retry_after == pytest.approx(90, abs=30)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(upstream: MusicAi, status: int) -> None:
    async with serving(reply(status, "", "Location: /elsewhere")) as server:
        outcome = await upstream.submit(access(server.url), submission())
    assert isinstance(outcome, Busy)
    assert "/elsewhere: the base URL is probably wrong" in outcome.reason
    assert len(server.requests) == 1


UNUSABLE = [
    "",
    HTML,
    "null",
    "[]",
    '{"id":"j',
    '{"id":5}',
    '{"id":""}',
    '{"id":"../../admin"}',
    '{"id":"a\\u0000"}',
    "[" * 100_000,
    b"\xff\xfe{",
    b"\x1f\x8b\x08\x00compressed",
]


@pytest.mark.parametrize("body", UNUSABLE)
async def test_success_without_an_id_is_unknown(upstream: MusicAi, body: bytes | str) -> None:
    outcome = await submitted(upstream, reply(200, body))
    assert outcome == Unknown("answer 200 with an unusable body", unreadable=True)


@pytest.mark.parametrize("status", [204, 408, 500, 502, 599])
async def test_statuses_that_leave_it_open(upstream: MusicAi, status: int) -> None:
    assert isinstance(await submitted(upstream, reply(status, "")), Unknown)


@pytest.mark.parametrize(
    "act",
    [
        drop,
        reset,
        then_close(reply(200, '{"id":"j1"}', length=500)),
        then_close(reply(200, '{"id":"j1"}', "Content-Encoding: gzip", length=500)),
        reply(200, '{"id":"j1"}', "Bad Header Line\x00"),
    ],
    ids=["drop", "reset", "cut", "cut-gzip", "bad-header"],
)
async def test_a_broken_exchange_is_unknown_and_not_repeated(upstream: MusicAi, act: Act) -> None:
    async with serving(act) as server:
        outcome = await upstream.submit(access(server.url), submission())
        await asyncio.sleep(0.05)
    assert isinstance(outcome, Unknown)
    assert len(server.requests) == 1


async def test_a_refusal_counts_even_if_its_body_breaks_off(upstream: MusicAi) -> None:
    outcome = await submitted(upstream, then_close(reply(400, REASON, length=500)))
    assert isinstance(outcome, Refused)
    assert outcome.problem.code == "HTTP_400"


async def test_silence_ends_at_the_deadline() -> None:
    upstream = client(submit=0.2, poll=0.2, interactive=0.2)
    async with serving(hang) as server:
        at = access(server.url)
        assert await upstream.submit(at, submission()) == Unknown("no answer within 0.2 s")
        for outcome in (
            await upstream.fetch(at, ID),
            await upstream.delete(at, ID),
            await upstream.upload(at),
        ):
            assert outcome == Unknown("no answer within 0.2 s")
    await upstream.close()


async def test_a_dripping_body_ends_at_the_deadline() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    upstream = client(submit=0.3)
    assert await submitted(upstream, drip) == Unknown("no answer within 0.3 s")
    await upstream.close()


async def test_a_huge_answer_is_given_up_early(upstream: MusicAi) -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
        while sent < 209_715_200:
            writer.write(b" " * 65536)
            sent += 65536
            await writer.drain()

    outcome = await submitted(upstream, flood)
    assert outcome == Unknown("the answer is larger than 8388608 bytes", unreadable=True)
    assert sent < 40_000_000


@pytest.mark.filterwarnings("ignore:Sending a large body")  # more than the sockets take in
async def test_an_answer_before_the_body_is_read(upstream: MusicAi) -> None:
    answered = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reply(413, REASON)(writer)
        await answered.wait()
        writer.transport.abort()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        big = Submission("n", "w", f'{{"a":"{"x" * 20_000_000}"}}', "{}", None)
        outcome = await upstream.submit(access(f"http://127.0.0.1:{port}"), big)
        answered.set()
        await asyncio.sleep(0.05)  # until the client has seen that nobody reads its rest
    assert outcome == Refused(413, GIVEN)


# --- Certainly never sent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:1/v1",
        "http://upstream.invalid/v1",
        "ftp://127.0.0.1/v1",
        "http://",
        "http://user:pass@127.0.0.1/v1",
        "http://127.0.0.1:99999/v1",
        "no url at all",
    ],
)
async def test_an_unreachable_upstream_is_busy(upstream: MusicAi, base_url: str) -> None:
    outcome = await upstream.submit(access(base_url), submission())
    assert isinstance(outcome, Busy)
    assert not outcome.limited
    assert isinstance(await upstream.fetch(access(base_url), ID), Busy)


async def test_a_server_that_speaks_no_tls_is_busy(upstream: MusicAi) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert isinstance(
            await upstream.submit(access(f"https://127.0.0.1:{port}"), submission()), Busy
        )


async def test_a_handshake_without_end_is_busy() -> None:
    upstream = client(submit=5.0, connect=0.2)
    async with serving(hang) as server:
        at = access(server.url.replace("http:", "https:"))
        assert isinstance(await upstream.submit(at, submission()), Busy)
    await upstream.close()


async def test_an_untrusted_certificate_is_busy(upstream: MusicAi) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with serving(reply(200, '{"id":"j1"}'), tls=tls) as server:
        at = access(server.url.replace("http:", "https:"))
        outcome = await upstream.submit(at, submission())
    assert isinstance(outcome, Busy)
    assert "certificate" in outcome.reason.lower()
    assert server.requests == []


async def test_a_private_authority_is_trusted_by_ssl_cert_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    shared_authorities.cache_clear()  # as in a process that begins
    upstream = client()
    async with serving(reply(200, '{"id":"j1"}'), tls=tls) as server:
        at = access(server.url.replace("http:", "https:"))
        assert await upstream.submit(at, submission()) == Submitted("j1")
    await upstream.close()
    shared_authorities.cache_clear()


async def test_no_free_connection_is_busy() -> None:
    upstream = MusicAi(
        SystemClock(),
        user_agent="x",
        deadlines=Deadlines(submit=0.6, connect=0.2),
        connections_per_host=1,
    )
    async with serving(hang) as server:
        outcomes = await asyncio.gather(
            *(upstream.submit(access(server.url), submission()) for _ in range(2))
        )
        assert {type(outcome) for outcome in outcomes} == {Busy, Unknown}
        assert len(server.requests) == 1
    await upstream.close()


@pytest.mark.parametrize("key", ["a\r\nX-Other: 1", "schl\u00fcssel", "a\x00"])
async def test_a_key_that_no_header_carries_is_denied(upstream: MusicAi, key: str) -> None:
    async with serving(reply(200, '{"id":"j1"}')) as server:
        outcome = await upstream.submit(access(server.url, key), submission())
    assert isinstance(outcome, Denied)
    assert outcome.problem.code == "KEY_UNUSABLE"
    assert server.requests == []


# --- Never twice ------------------------------------------------------------------------------


async def test_a_post_on_a_dying_connection_is_not_sent_again(upstream: MusicAi) -> None:
    async with serving(reply(200, '{"id":"j1"}'), drop) as server:
        at = access(server.url)
        assert await upstream.submit(at, submission("first")) == Submitted("j1")
        assert isinstance(await upstream.submit(at, submission("second")), Unknown)
        await asyncio.sleep(0.05)
        assert server.connections == 1
        assert [b'"second"' in request for request in server.requests] == [False, True]


async def test_a_get_on_a_dying_connection_is_sent_again(upstream: MusicAi) -> None:
    status = reply(200, f'{{"id":"{ID}","status":"STARTED"}}')
    async with serving(status, drop, status) as server:
        at = access(server.url)
        assert await upstream.status(at, ID) == "STARTED"
        assert await upstream.status(at, ID) == "STARTED"
        assert (server.connections, len(server.requests)) == (2, 3)


async def test_no_name_arrives_twice_however_the_connections_close(upstream: MusicAi) -> None:
    async with serving(then_close(reply(200, '{"id":"j1"}'))) as server:
        at = access(server.url)
        outcomes: list[object] = []

        async def submit_some(worker: int) -> None:
            for number in range(100):
                outcome = await upstream.submit(at, submission(f"n{worker}-{number}"))
                outcomes.append(outcome)

        await asyncio.gather(*(submit_some(worker) for worker in range(4)))
        names = [
            json.loads(request.partition(b"\r\n\r\n")[2])["name"] for request in server.requests
        ]
        assert len(names) == len(set(names))
        assert len(names) >= outcomes.count(Submitted("j1")) > 0
        assert {type(outcome) for outcome in outcomes} <= {Submitted, Unknown}


# --- Reading jobs -----------------------------------------------------------------------------

FULL = {
    "id": ID,
    "app": "App",
    "name": "a job",
    "batchName": None,
    "metadata": {"tenant": "acme", "gatewayJobId": "marker-1"},
    "workflow": "music-ai/stems",
    "workflowParams": {"inputUrl": "https://a/b"},
    "status": "SUCCEEDED",
    "result": {"vocals": "https://cdn/v.wav", "bpm": "64"},
    "error": None,
    "createdAt": "2026-11-22T10:00:00.123Z",
    "startedAt": "2026-11-22T12:00:01+02:00",
    "completedAt": "2026-11-22T10:00:02Z",
}
READ = UpstreamJob(
    upstream_id=ID,
    status="SUCCEEDED",
    result='{"vocals": "https://cdn/v.wav", "bpm": "64"}',
    created_at=datetime(2026, 11, 22, 10, 0, 0, 123000, UTC),
    started_at=datetime(2026, 11, 22, 10, 0, 1, tzinfo=UTC),
    completed_at=datetime(2026, 11, 22, 10, 0, 2, tzinfo=UTC),
    marker="marker-1",
)


async def fetched(upstream: MusicAi, body: bytes | str) -> object:
    async with serving(reply(200, body)) as server:
        return await upstream.fetch(access(server.url), ID)


async def paged(upstream: MusicAi, body: bytes | str) -> object:
    async with serving(reply(200, body)) as server:
        return await upstream.page(access(server.url), statuses=["A", "B"], page=2, size=50)


async def test_a_job_is_read(upstream: MusicAi) -> None:
    assert await fetched(upstream, json.dumps(FULL)) == READ
    failed = {**FULL, "status": "FAILED", "result": None, "error": json.loads(REASON), "new": [1]}
    job = await fetched(upstream, json.dumps(failed))
    assert isinstance(job, UpstreamJob)
    assert (job.result, job.problem) == (None, GIVEN)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"workflow": {"id": "w", "name": "n"}}, {}),
        ({"result": 5}, {"result": "5"}),
        ({"result": {}}, {"result": "{}"}),
        ({"metadata": None}, {"marker": None}),
        ({"metadata": ["x"]}, {"marker": None}),
        ({"metadata": {"gatewayJobId": 5}}, {"marker": None}),
        (
            {"error": "plain words"},
            {"problem": UpstreamProblem("UNKNOWN", "Job failed", "plain words")},
        ),
        ({"error": {}}, {"problem": UpstreamProblem("UNKNOWN", "Job failed", "{}")}),
        ({"error": {"code": "X"}}, {"problem": UpstreamProblem("X", "Job failed", "")}),
        ({"createdAt": 5}, {"created_at": None}),
        ({"createdAt": "yesterday"}, {"created_at": None}),
        ({"createdAt": "0001-01-01T00:00:00+14:00"}, {"created_at": None}),
        ({"createdAt": "2026-11-22T10:00:00.123"}, {}),
        ({"status": "PAUSED"}, {"status": "PAUSED"}),
        ({"status": "x" * 500}, {"status": "x" * 100}),
    ],
)
async def test_deviations_of_a_job(
    upstream: MusicAi, part: dict[str, object], expected: dict[str, object]
) -> None:
    job = await fetched(upstream, json.dumps({**FULL, **part}))
    assert isinstance(job, UpstreamJob)
    found = {name: getattr(job, name) for name in READ.__slots__}
    wanted = {name: getattr(READ, name) for name in READ.__slots__} | expected
    assert found == wanted


@pytest.mark.parametrize(
    "body", [*UNUSABLE, '{"id":"j1"}', '{"status":"STARTED"}', '{"id":"j1","status":5}']
)
async def test_an_unusable_job_is_unknown(upstream: MusicAi, body: bytes | str) -> None:
    assert isinstance(await fetched(upstream, body), Unknown)


async def test_a_page_keeps_the_good_and_skips_the_bad(upstream: MusicAi) -> None:
    items = [FULL, 5, None, {}, {"id": "x"}, [FULL], {"id": "other", "status": "STARTED"}]
    async with serving(reply(200, json.dumps(items))) as server:
        jobs = await upstream.page(access(server.url), statuses=["A", "B C"], page=2, size=50)
    assert jobs == [READ, UpstreamJob("other", "STARTED")]
    target = server.requests[0].split(b" ")[1]
    assert target == b"/v1/job?page=2&size=50&status=A&status=B+C"
    assert await paged(upstream, "[]") == []
    assert await paged(upstream, json.dumps([FULL, FULL])) == [READ, READ]


@pytest.mark.parametrize("body", [*UNUSABLE[:3], *UNUSABLE[4:], '{"jobs":[]}', "[" * 5000])
async def test_a_page_that_is_no_list_is_unknown(upstream: MusicAi, body: bytes | str) -> None:
    assert isinstance(await paged(upstream, body), Unknown)


@pytest.mark.parametrize(
    ("result", "stored"),
    [
        (b'{"a":"\\u0000b"}', {"a": "\ufffdb"}),
        (b'{"a":"\\\\u0000"}', {"a": "\\u0000"}),
        (b'{"a":"\\ud83d\\ude00 \\ud83d \\ude00"}', {"a": "\U0001f600 \ufffd \ufffd"}),
        (b'{"a":"\xff\xc3\xa9"}', {"a": "\ufffd\u00e9"}),
        (b'{"a":NaN,"b":-Infinity}', {"a": None, "b": None}),
        (b'{"a":1e999999,"b":1.50}', {"a": "1e999999", "b": 1.5}),
        (b'{"a":1e999,"b":-1E-999}', {"a": "1e999", "b": "-1E-999"}),
        (b'{"a":' + b"9" * 400 + b"}", {"a": "9" * 400}),
        (b'{"a":' + b"9" * 200 + b"e200}", {"a": "9" * 200 + "e200"}),
        (b'{"a":12345678901234567890123}', {"a": 12345678901234567890123}),
        (b'[1, 2.5, true, {"x": null}]', [1, 2.5, True, {"x": None}]),
    ],
)
async def test_hostile_results_can_be_stored(
    upstream: MusicAi, postgres: str, result: bytes, stored: object
) -> None:
    body = b'{"id":"j1","status":"SUCCEEDED","error":"bad\\u0000","result":' + result + b"}"
    job = await fetched(upstream, body)
    page = await paged(upstream, b"[" + body + b"]")
    assert page == [job]
    assert isinstance(job, UpstreamJob)
    assert job.problem == UpstreamProblem("UNKNOWN", "Job failed", "bad\ufffd")
    connection = await asyncpg.connect(postgres.replace("+asyncpg", ""))
    try:
        assert json.loads(await connection.fetchval("SELECT $1::jsonb", job.result)) == stored
    finally:
        await connection.close()


async def test_exact_numbers_stay_as_they_were(upstream: MusicAi) -> None:
    job = await fetched(upstream, b'\xef\xbb\xbf{"id":"j1","status":"S","result":{"a": 1.50}}')
    assert isinstance(job, UpstreamJob)
    assert job.result == '{"a": 1.50}'


async def test_absence(upstream: MusicAi) -> None:
    async with serving(reply(404, REASON)) as server:
        at = access(server.url)
        assert await upstream.fetch(at, ID) == Absent()
        assert await upstream.status(at, ID) == Absent()
        assert await upstream.delete(at, ID) == Absent()
        wrong = Unknown("answer 404: the base URL is probably wrong")
        assert await upstream.page(at, statuses=[], page=0, size=1) == wrong
        assert await upstream.application(at) == wrong
        assert await upstream.workflows(at, page=0, size=1) == wrong
        assert await upstream.upload(at) == wrong


async def test_reads_report_trouble(upstream: MusicAi) -> None:
    async with serving(reply(401, REASON), reply(429), reply(418), reply(301)) as server:
        at = access(server.url)
        assert await upstream.fetch(at, ID) == Denied(401, GIVEN)
        assert isinstance(await upstream.status(at, ID), Busy)
        assert await upstream.delete(at, ID) == Unknown("answer 418")
        assert isinstance(await upstream.application(at), Busy)


# --- The rest ---------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ['{"id":"x"}', "", HTML])
async def test_delete_is_done_whatever_the_body(upstream: MusicAi, body: str) -> None:
    async with serving(reply(200, body)) as server:
        assert await upstream.delete(access(server.url), ID) is None
    assert server.requests[0].startswith(f"DELETE /v1/job/{ID} HTTP/1.1\r\n".encode())


async def test_application(upstream: MusicAi) -> None:
    async with serving(reply(200, '{"id":"1","name":"My App"}'), reply(200, "{}")) as server:
        assert await upstream.application(access(server.url)) == "My App"
        assert isinstance(await upstream.application(access(server.url)), Unknown)


async def test_workflows_come_bare_or_wrapped(upstream: MusicAi) -> None:
    one = {"id": "1", "name": "N", "slug": "s", "description": "d"}
    items = [one, {"name": "nobody"}, 5, {"slug": "only"}, {"id": "2", "slug": 5, "name": None}]
    expected = [
        Workflow("1", "N", "s", json.dumps(one)),
        Workflow("only", "", "only", '{"slug": "only"}'),
        Workflow("2", "", "2", '{"id": "2", "slug": 5, "name": null}'),
    ]
    bare, wrapped = json.dumps(items), json.dumps({"workflows": items})
    async with serving(reply(200, bare), reply(200, wrapped), reply(200, "{}")) as server:
        at = access(server.url)
        assert await upstream.workflows(at, page=0, size=100) == expected
        assert await upstream.workflows(at, page=0, size=100) == expected
        assert isinstance(await upstream.workflows(at, page=0, size=100), Unknown)
    assert server.requests[0].startswith(b"GET /v1/workflow?page=0&size=100 HTTP/1.1\r\n")


async def test_upload(upstream: MusicAi) -> None:
    urls = '{"uploadUrl":"https://up","downloadUrl":"https://down"}'
    async with serving(reply(200, urls), reply(200, '{"uploadUrl":"https://up"}')) as server:
        assert await upstream.upload(access(server.url)) == Upload("https://up", "https://down")
        assert isinstance(await upstream.upload(access(server.url)), Unknown)


async def test_calls_that_read_nothing_pass_trouble_on(upstream: MusicAi) -> None:
    at = access("http://127.0.0.1:1")
    assert isinstance(await upstream.delete(at, ID), Busy)
    assert isinstance(await upstream.workflows(at, page=0, size=1), Busy)


async def test_the_key_shows_in_no_value(upstream: MusicAi) -> None:
    echo = json.dumps({"code": KEY, "title": KEY, "message": KEY})
    server: RawServer
    async with serving(reply(403, echo)) as server:
        outcome = await upstream.submit(access(server.url), submission())
    assert KEY not in repr(outcome)
    assert KEY not in repr(access(server.url))


# --- What is told of calls ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (reply(200, '{"status":"QUEUED"}'), "answered"),
        (reply(404, "{}"), "answered"),
        (reply(429, "{}"), "limited"),
        (reply(503, "{}"), "failed"),
        (reset, "failed"),
    ],
    ids=["200", "404", "429", "503", "reset"],
)
async def test_each_call_that_was_sent_is_told_once(act: Act, outcome: str) -> None:
    told: list[tuple[str, float]] = []
    upstream = MusicAi(SystemClock(), user_agent="x", listener=lambda *call: told.append(call))
    try:
        async with serving(act) as server:
            await upstream.status(access(server.url), ID)
    finally:
        await upstream.close()
    assert [one[0] for one in told] == [outcome]
    assert told[0][1] > 0


async def test_a_call_that_cannot_be_sent_is_not_told() -> None:
    told: list[tuple[str, float]] = []
    upstream = MusicAi(SystemClock(), user_agent="x", listener=lambda *call: told.append(call))
    try:
        assert isinstance(await upstream.status(access("nonsense"), ID), Busy)
        assert isinstance(await upstream.status(access("http://127.0.0.1:1", "k\n"), ID), Denied)
    finally:
        await upstream.close()
    assert told == []


# --- The rate of an upstream with a limit ---------------------------------------------------------


async def test_calls_of_a_credential_keep_to_the_rate_and_those_of_others_do_not_wait() -> None:
    limited = MusicAi(SystemClock(), user_agent="job-gateway/1", rate=5)
    other = UUID(int=2)
    loop = asyncio.get_running_loop()
    try:
        async with serving(reply(200, '{"status":"QUEUED"}')) as server:
            here = access(server.url)
            started = loop.time()
            await asyncio.gather(*(limited.status(here, ID) for _ in range(8)))
            assert loop.time() - started >= 3 / 5 - 0.05
            assert await limited.status(Access(other, server.url, Secret(KEY)), ID) == "QUEUED"
    finally:
        await limited.close()


async def test_a_submit_that_had_no_token_in_time_was_certainly_not_sent() -> None:
    deadlines = Deadlines(submit=0.2)
    limited = MusicAi(SystemClock(), user_agent="x", deadlines=deadlines, rate=0.5)
    try:
        async with serving(reply(200, '{"id":"j1"}')) as server:
            here = access(server.url)
            assert await limited.submit(here, submission()) == Submitted("j1")
            outcome = await limited.submit(here, submission())
            assert outcome == Busy("no call was free within 0.2 s at 0.5 a second")
            assert len(server.requests) == 1
    finally:
        await limited.close()


async def test_credentials_that_make_no_calls_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.adapters.musicai.http._BUCKETS", 2)
    limited = MusicAi(SystemClock(), user_agent="x", rate=1000)
    try:
        async with serving(reply(200, '{"status":"QUEUED"}')) as server:
            for number in range(6):
                one = Access(UUID(int=number), server.url, Secret(KEY))
                assert await limited.status(one, ID) == "QUEUED"
                await asyncio.sleep(0.005)
            assert len(limited._http._buckets) <= 3  # pyright: ignore[reportPrivateUsage]
    finally:
        await limited.close()
