"""Traces at the API: the caller's context, the job's, and the id that callers are shown."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from gateway.core.lifecycle import Finish
from gateway.core.model import JobState
from gateway.core.trace_context import trace_id_of
from tests.builders import TRACEPARENT
from tests.fakes import FakeTracer
from tests.web.conftest import GOOD, World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACE = TRACEPARENT[3:35]


@pytest_asyncio.fixture(loop_scope="module")
async def tracer(world: World) -> AsyncIterator[FakeTracer]:
    """Traces are on for the application that is asked."""
    made = FakeTracer()
    world.client = await world.serve(tracer=made)
    yield made


async def create(world: World, acme: str, traceparent: str = TRACEPARENT, **headers: str) -> Any:
    sent = {"traceparent": traceparent} | headers
    answer = await world.call("POST", "/v1/job", acme, json=GOOD, headers=sent)
    assert answer.status_code == 200
    return answer.json()["id"]


async def trace_of(world: World, acme: str, job_id: str) -> Any:
    return (await world.get(f"/v1/job/{job_id}", acme))["gateway"]["traceId"]


async def stored(world: World, job_id: str) -> str | None:
    async with world.deps.db.single() as tx:
        return (await tx.one("SELECT traceparent FROM job WHERE id = $1", job_id)).traceparent


async def test_a_job_is_a_part_of_its_callers_trace(
    world: World, acme: str, tracer: FakeTracer
) -> None:
    job_id = await create(world, acme)
    (request,) = tracer.spans
    assert (request.work, request.parent, request.outcome) == ("http", TRACEPARENT, "200")
    assert str(request.fields["job_id"]) == job_id
    assert (request.fields["route"], request.fields["tenant"]) == ("/v1/job", acme)
    assert await stored(world, job_id) == request.traceparent
    assert await trace_of(world, acme, job_id) == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        "00-nonsense",
        TRACEPARENT.upper(),
        f"{TRACEPARENT}-00",
        f"{TRACEPARENT}, {TRACEPARENT}",
        f"00-{'0' * 32}-{'1' * 16}-01",
        "x" * 8_000,
    ],
)
async def test_an_invalid_context_begins_a_trace_and_refuses_nothing(
    world: World, acme: str, tracer: FakeTracer, given: str
) -> None:
    job_id = await create(world, acme, given)
    (request,) = tracer.spans
    assert request.parent is None
    assert await trace_of(world, acme, job_id) == trace_id_of(request.traceparent)


async def test_two_contexts_are_none(world: World, acme: str, tracer: FakeTracer) -> None:
    headers = [
        ("Authorization", world.keys[acme]),
        ("traceparent", TRACEPARENT),
        ("traceparent", TRACEPARENT.replace("4bf9", "4bf8")),
    ]
    answer = await world.client.post("/v1/job", json=GOOD, headers=headers)
    assert answer.status_code == 200
    assert tracer.spans[0].parent is None


async def test_all_jobs_of_a_batch_are_in_the_trace_of_its_request(
    world: World, acme: str, tracer: FakeTracer
) -> None:
    body = {"name": "b", "jobs": [GOOD, GOOD]}
    headers = {"traceparent": TRACEPARENT}
    answer = await world.call("POST", "/v1/batch", acme, json=body, headers=headers)
    (request,) = tracer.spans
    contexts = [await stored(world, job_id) for job_id in answer.json()["ids"]]
    assert contexts == [request.traceparent] * 2


async def test_a_retry_is_in_the_trace_of_its_own_request(
    world: World, acme: str, tracer: FakeTracer
) -> None:
    first = await create(world, acme)
    await world.finish(first, Finish(JobState.SUCCEEDED, result="{}"))
    tracer.spans.clear()
    answer = await world.call("POST", f"/v1/job/{first}/retry", acme)
    (request,) = tracer.spans
    assert await stored(world, answer.json()["id"]) == request.traceparent
    assert str(request.fields["job_id"]) == answer.json()["id"]


async def test_a_repeated_request_leaves_the_job_in_its_first_trace(
    world: World, acme: str, tracer: FakeTracer
) -> None:
    key = {"Idempotency-Key": "traced"}
    first = await create(world, acme, **key)
    again = await create(world, acme, TRACEPARENT.replace("4bf9", "4bf8"), **key)
    assert first == again
    assert await trace_of(world, acme, first) == TRACE


async def test_every_form_of_a_job_has_the_trace_id(
    world: World, acme: str, tracer: FakeTracer
) -> None:
    job_id = await create(world, acme)
    (listed,) = (await world.call("GET", "/v1/job", acme)).json()
    assert listed["gateway"]["traceId"] == TRACE
    lines = (await world.call("GET", "/v1/job?format=ndjson", acme)).text.splitlines()
    assert [TRACE in line for line in lines] == [True]
    support = await world.get(f"/admin/v1/job/{job_id}", world.operator)
    assert support["gateway"]["traceId"] == TRACE


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/job", 400, "BAD_REQUEST"),
        ("GET", "/v1/job/x/y/z", 404, "NOT_FOUND"),
        ("PUT", "/v1/job", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/v1/job?size=0", 400, "BAD_REQUEST"),
    ],
)
async def test_problem_details_name_the_trace(
    world: World, acme: str, tracer: FakeTracer, *, method: str, path: str, status: int, code: str
) -> None:
    headers = {"traceparent": TRACEPARENT}
    answer = await world.call(method, path, acme, headers=headers)
    assert problem(answer, status, code)["traceId"] == TRACE
    assert [span.outcome for span in tracer.spans] == [str(status)]


async def test_health_checks_are_not_traced(world: World, tracer: FakeTracer) -> None:
    for path in ("/health/live", "/metrics"):
        assert (await world.call("GET", path)).status_code == 200
    assert tracer.spans == []


async def test_nothing_is_kept_or_shown_while_traces_are_off(world: World, acme: str) -> None:
    job_id = await create(world, acme)
    assert await stored(world, job_id) is None
    assert await trace_of(world, acme, job_id) is None
    headers = {"traceparent": TRACEPARENT}
    answer = await world.call("POST", "/v1/job", acme, headers=headers)
    assert "traceId" not in problem(answer, 400, "BAD_REQUEST")


async def test_an_operator_says_who_is_sent_the_context(world: World, acme: str) -> None:
    path = f"/admin/v1/tenant/{acme}"
    assert (await world.get(path, world.operator))["sendTraceparent"] == []
    both = ["receivers", "upstream"]
    changed = await world.send("PATCH", path, world.operator, {"sendTraceparent": both})
    assert changed["sendTraceparent"] == both
    changed = await world.send("PATCH", path, world.operator, {"name": "Other"})
    assert changed["sendTraceparent"] == both
    changed = await world.send("PATCH", path, world.operator, {"sendTraceparent": None})
    assert changed["sendTraceparent"] == []
    for wrong in (["everybody"], "upstream", [1], ["upstream"] * 3):
        body = {"sendTraceparent": wrong}
        answer = await world.call("PATCH", path, world.operator, json=body)
        assert "sendTraceparent" in problem(answer, 400, "BAD_REQUEST")["detail"]


async def test_a_tenant_can_be_made_with_it(world: World) -> None:
    slug = f"sent-{world.deps.ids.random_bytes(4).hex()}"
    body = {"slug": slug, "name": "Sent", "sendTraceparent": ["upstream"]}
    made = await world.send("POST", "/admin/v1/tenant", world.operator, body)
    assert made["sendTraceparent"] == ["upstream"]
