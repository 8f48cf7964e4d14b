"""Bad input gets the documented error, never a 500, and stores nothing."""

import json
from typing import Any

import pytest

from tests.web.conftest import GOOD, NOBODY, World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


_DEEP = b"[" * 1000 + b"]" * 1000


def _job(**fields: Any) -> bytes:
    return json.dumps(GOOD | fields).encode()


def _raw(field: str, value: bytes) -> bytes:
    """A valid job with one field as raw JSON."""
    kept = {name: one for name, one in GOOD.items() if name != field}
    return json.dumps(kept).encode()[:-1] + b',"' + field.encode() + b'":' + value + b"}"


def _nested(depth: int) -> bytes:
    """A job with this depth of nesting; the body and params are two of the levels."""
    return _raw("params", b'{"a":' + b"[" * (depth - 2) + b"]" * (depth - 2) + b"}")


_BODIES: dict[str, tuple[bytes, list[str]]] = {
    "empty": (b"", []),
    "not json": (b"name=one", []),
    "cut off": (_job()[:-3], []),
    "two values": (_job() + b"{}", []),
    "an array": (b"[]", []),
    "null": (b"null", []),
    "byte order mark": (b"\xef\xbb\xbf" + _job(), []),
    "comment": (b"/* */" + _job(), []),
    "missing fields": (b"{}", ["name", "workflow", "params"]),
    "unknown field": (_job(color="red"), ["color"]),
    "unknown and wrong": (_job(color="red", priority="high"), ["color", "priority"]),
    "many unknown": (_job(**{f"x{n}": n for n in range(1000)}), [f"x{n}" for n in range(100)]),
    "name number": (_job(name=1), ["name"]),
    "name null": (_job(name=None), ["name"]),
    "name empty": (_job(name=""), ["name"]),
    "name long": (_job(name="x" * 513), ["name"]),
    "workflow list": (_job(workflow=["w"]), ["workflow"]),
    "workflow long": (_job(workflow="x" * 257), ["workflow"]),
    "params null": (_job(params=None), ["params"]),
    "params text": (_job(params="x"), ["params"]),
    "params array": (_job(params=[]), ["params"]),
    "metadata text": (_job(metadata="x"), ["metadata"]),
    "metadata array": (_job(metadata=[{}]), ["metadata"]),
    "metadata keys": (_job(metadata={f"k{n}": 1 for n in range(101)}), ["metadata"]),
    "metadata key": (_job(metadata={"k" * 129: 1}), ["metadata"]),
    "metadata size": (_job(metadata={"k": "x" * 16_400}), ["metadata"]),
    "metadata marker": (_job(metadata={"gatewayJobId": "x"}), ["metadata.gatewayJobId"]),
    "copies text": (_job(copyResultsTo="x"), ["copyResultsTo"]),
    "copies numbers": (_job(copyResultsTo={"a": 1}), ["copyResultsTo.a"]),
    "batch empty": (_job(batchName=""), ["batchName"]),
    "batch long": (_job(batchName="x" * 257), ["batchName"]),
    "callback number": (_job(callbackUrl=5), ["callbackUrl"]),
    "callback long": (_job(callbackUrl="https://x.example.com/" + "x" * 2048), ["callbackUrl"]),
    "deadline zero": (_job(deadline=0), ["deadline"]),
    "deadline negative": (_job(deadline="-PT1S"), ["deadline"]),
    "deadline long": (_job(deadline="P31D"), ["deadline"]),
    "deadline huge": (_job(deadline="P99999999999D"), ["deadline"]),
    "deadline months": (_job(deadline="P1M"), ["deadline"]),
    "deadline word": (_job(deadline="soon"), ["deadline"]),
    "deadline true": (_job(deadline=True), ["deadline"]),
    "priority low": (_job(priority=-1), ["priority"]),
    "priority high": (_job(priority=10), ["priority"]),
    "priority part": (_job(priority=1.5), ["priority"]),
    "priority huge": (_raw("priority", b"1" * 400), ["priority"]),
    "NaN": (_raw("params", b'{"a":NaN}'), []),
    "Infinity": (_raw("metadata", b'{"a":-Infinity}'), []),
    "number out of range": (_raw("metadata", b'{"a":1e400}'), ["metadata.a"]),
    "number too long": (_raw("params", b'{"a":' + b"1" * 5000 + b"}"), ["params.a"]),
    "leading zero": (_raw("params", b'{"a":01}'), []),
    "NUL escape": (_raw("params", b'{"a":"x\\u0000"}'), ["params"]),
    "NUL escape in a name": (_raw("name", b'"\\u0000"'), ["name"]),
    "NUL escapes": (_job(name="a\0", params={"b": "\0"}), ["name", "params"]),
    "NUL escape after a backslash": (_raw("params", b'{"a":"\\\\\\u0000"}'), ["params"]),
    "NUL byte": (_raw("params", b'{"a":"\x00"}'), []),
    "line break in text": (_raw("params", b'{"a":"\n"}'), []),
    "lone surrogate": (_raw("params", b'{"a":"\\ud800"}'), []),
    "lone surrogate, then text": (_raw("metadata", b'{"a":"\\ud800 and more text"}'), []),
    "low surrogate": (_raw("metadata", b'{"a":"\\udc00 and more text"}'), []),
    "surrogate in a name": (_raw("name", b'"\\ud800\\u0041 and more"'), []),
    "surrogate in UTF-8": (_raw("name", b'"\xed\xa0\x80"'), []),
    "not UTF-8": (_raw("name", b'"\xff"'), []),
    "not UTF-8 in params": (_raw("params", b'{"a":"\xff"}'), ["params"]),
    "65 deep": (_nested(65), []),
    "128 deep by turns": (_raw("params", b'{"a":[' * 63 + b"]}" * 63), []),
    "1000 deep": (_raw("params", _DEEP), []),
    "100,000 deep": (b"[" * 30_000, []),
}


@pytest.mark.parametrize("name", _BODIES)
async def test_a_bad_body_is_refused(world: World, acme: str, name: str) -> None:
    content, named = _BODIES[name]

    answer = await world.call("POST", "/v1/job", acme, content=content)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named
    assert len(answer.content) < 20_000
    assert await world.count(acme) == 0


@pytest.mark.parametrize(
    "content",
    [
        _nested(64),
        _raw("params", b'{"text":"' + b"[{" * 500 + b'"}'),
        _raw("params", b'{"list":[' + b"[],{}," * 500 + b"1]}"),
        _raw("params", b'{"a":"\\\\u0000"}'),
        _raw("metadata", json.dumps({f"k{n}": 1 for n in range(100)}).encode()),
        _raw("metadata", b'{"a":1e300,"b":-0,"c":1E-400}'),
        _raw("metadata", b"null"),
        _raw("name", json.dumps("x" * 512).encode()),
        b" \n" + _job(deadline="P30D") + b"\n",
    ],
    ids=[
        "64 deep",
        "brackets in text",
        "many but flat",
        "a backslash and u0000",
        "100 keys",
        "odd numbers",
        "null metadata",
        "512 characters",
        "spaces and 30 days",
    ],
)
async def test_unusual_but_valid_input_is_accepted(world: World, acme: str, content: bytes) -> None:
    answer = await world.call("POST", "/v1/job", acme, content=content)

    assert answer.status_code == 200, answer.text


async def test_100_000_keys_of_metadata(world: World, acme: str) -> None:
    world.client = await world.serve(max_body_bytes=10_000_000)
    body = _job(metadata={f"k{n}": n for n in range(100_000)})

    problem(await world.call("POST", "/v1/job", acme, content=body), 400, "BAD_REQUEST")


@pytest.mark.parametrize("key", ["", "x" * 256, "x" * 300, "tab\tkey", "\xe9"])
async def test_a_bad_idempotency_key_is_refused(world: World, acme: str, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}

    answer = await world.call("POST", "/v1/job", acme, headers=headers, json=GOOD)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["Idempotency-Key"]
    assert await world.count(acme) == 0


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("page=-1", ["page"]),
        ("page=one", ["page"]),
        ("page=", ["page"]),
        ("page=1.5", ["page"]),
        ("page=1&page=2", ["page"]),
        ("page=99999999999999999999999", ["page"]),
        ("size=1000000000", ["size"]),
        ("size=0", ["size"]),
        ("size=-5", ["size"]),
        ("page=101&size=100", ["page"]),
        ("cursor=nonsense", ["cursor"]),
        ("cursor=%00", ["cursor"]),
        ("cursor=AQGQ46AAAHAAgAAAAAAAAAA&page=1", ["page"]),
        ("status=FOO", ["status"]),
        ("status=QUEUED&status=waiting", ["status"]),
        ("createdAfter=yesterday", ["createdAfter"]),
        ("createdAfter=2026-13-01T00:00:00Z", ["createdAfter"]),
        ("createdAfter=2026", ["createdAfter"]),
        ("createdAfter=1795363200.5", ["createdAfter"]),
        ("color=red", ["color"]),
        ("Page=1", ["Page"]),
        ("metadata=x", ["metadata"]),
        ("metadata.=x", ["metadata."]),
        ("status.x=QUEUED", ["status.x"]),
        ("page=-1&size=0&color=red", ["page", "size", "color"]),
        ("name=%ff", []),
        ("name=a%00b", ["name"]),
        ("na%00me=x", []),
        ("wait=5", ["wait"]),
    ],
)
async def test_a_bad_query_is_refused(
    world: World, acme: str, query: str, named: list[str]
) -> None:
    answer = await world.call("GET", f"/v1/job?{query}", acme)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named


async def test_a_wrong_word_is_refused_with_the_right_ones(world: World, acme: str) -> None:
    body = problem(await world.call("GET", "/v1/job?status=FOO", acme), 400, "BAD_REQUEST")

    for word in ("FOO", "QUEUED", "STARTED", "SUCCEEDED", "FAILED"):
        assert word in body["detail"]


@pytest.mark.parametrize("year", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00"])
async def test_extreme_times_are_no_500(world: World, acme: str, year: str) -> None:
    answer = await world.call("GET", f"/v1/job?createdAfter={year}", acme)

    assert answer.status_code in (200, 400), answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/job?x=1"),
        ("GET", "/v1/application?x=1"),
        ("GET", "/v1/upload?x=1"),
        ("GET", "/v1/workflow?x=1"),
        ("GET", "/v1/usage?x=1"),
        ("GET", "/v1/endpoint?x=1"),
        ("GET", f"/v1/job/{NOBODY}?x=1"),
        ("GET", f"/v1/job/{NOBODY}/status?x=1"),
        ("DELETE", f"/v1/job/{NOBODY}?x=1"),
    ],
)
async def test_unknown_parameters_are_refused_everywhere(
    world: World, acme: str, method: str, path: str
) -> None:
    answer = await world.call(method, path, acme, content=_job() if method == "POST" else None)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["x"]


@pytest.mark.parametrize("suffix", ["", "/status", "/event"])
@pytest.mark.parametrize(
    "job_id", [NOBODY, "nope", "123", "%00", "%ff", "a" * 5000, "{}"], ids=lambda i: i[:8]
)
async def test_malformed_and_unknown_ids_are_not_found(
    world: World, acme: str, job_id: str, suffix: str
) -> None:
    problem(await world.call("GET", f"/v1/job/{job_id}{suffix}", acme), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("GET", "/job/nope", "'nope' is not a job id."),
        ("DELETE", "/job/123/", "'123' is not a job id."),
        ("GET", "/job/nope/event", "'nope' is not a job id."),
        ("POST", "/job/a%1Bb/retry", r"'a\x1bb' is not a job id."),
        ("PATCH", "/endpoint/nope", "'nope' is not an endpoint id."),
        ("POST", "/endpoint/nope/recover", "'nope' is not an endpoint id."),
        ("GET", f"/delivery/{NOBODY}0", f"'{NOBODY}0' is not a delivery id."),
        ("POST", "/bulk/nope/stop", "'nope' is not the id of a bulk operation."),
        ("GET", f"/job/{'a' * 500}", f"'{'a' * 40}...' is not a job id."),
        ("GET", "/job/nope/nothing", "There is nothing at this path."),
    ],
)
async def test_a_malformed_id_is_named(
    world: World, acme: str, method: str, path: str, said: str
) -> None:
    for face in ("/v1", "/api"):
        answer = await world.call(method, face + path, acme)
        assert problem(answer, 404, "NOT_FOUND")["detail"] == said


async def test_a_malformed_id_is_named_to_operators_too(world: World) -> None:
    answer = await world.call("GET", "/admin/v1/job/nope/event", world.operator)

    assert problem(answer, 404, "NOT_FOUND")["detail"] == "'nope' is not a job id."


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v2/job", "/v1/job/x/y/z"])
async def test_unknown_paths_are_problem_details(world: World, acme: str, path: str) -> None:
    problem(await world.call("GET", path, acme), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "BREW"])
async def test_other_methods_are_refused_with_the_header_allow(
    world: World, acme: str, method: str
) -> None:
    answer = await world.call(method, f"/v1/job/{NOBODY}", acme)

    problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert {"GET", "DELETE"} <= set(answer.headers["allow"].split(", "))
