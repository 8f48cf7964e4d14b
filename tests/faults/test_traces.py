"""One trace per job over real processes: exported to a collector, and carried on after a crash."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra `otel`")

from tests.adapters.tracing.sink import Exported, Sink, collecting
from tests.builders import TRACEPARENT
from tests.faults.harness.history import job
from tests.faults.harness.rig import Rig
from tests.faults.harness.waiting import until
from tests.faults.harness.world import SHORT, Tenant, World, start_world

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACE, CALLER = TRACEPARENT[3:35], TRACEPARENT[36:52]
REQUEST = "POST /v1/job"
INPUT = "https://media.example.com/secret-of-the-caller.wav"
# What a caller or an operator keeps secret must not be in any span.
SECRETS = ("of-the-caller", "jgw_", "whsec_", "sim-")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with collecting() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def world(rig: Rig, sink: Sink) -> AsyncIterator[World]:
    """A gateway that exports its traces."""
    env: dict[str, Any] = sink.env()
    async with start_world(rig, tenants=1, policy=SHORT, **env) as made:
        yield made


async def submit(world: World, traceparent: str = TRACEPARENT, **fields: Any) -> str:
    (tenant,) = world.tenants
    body = job(**fields)
    body["params"]["inputUrl"] = INPUT
    body["metadata"] = {"order": "secret-of-the-caller"}
    answer = await world.ask("POST", "/v1/job", tenant.key, body, traceparent=traceparent)
    assert answer.status_code == 200
    return answer.json()["id"]


async def exported(sink: Sink, *names: str) -> list[Exported]:
    return await asyncio.to_thread(sink.wait_for, TRACE, names)


def request_of(spans: list[Exported]) -> Exported:
    """The span of the request that made the job; all others must be its children."""
    (request,) = [span for span in spans if span.name == REQUEST]
    others = [span for span in spans if span is not request]
    assert {span.parent_id for span in others} == {request.span_id}
    return request


async def seen(rig: Rig, tenant: Tenant) -> list[dict[str, Any]]:
    return [one for one in await rig.received() if one["path"].endswith(f"/{tenant.slug}")]


async def logged(world: World, role: str, event: str) -> list[str]:
    """The lines of an event that have the trace's id."""
    lines = [one for one in world.log(role).splitlines() if f'"event":"{event}"' in one]
    return [one for one in lines if f'"trace_id":"{TRACE}"' in one]


async def test_a_job_is_one_trace_from_its_caller_to_its_receiver(world: World, sink: Sink) -> None:
    (tenant,) = world.tenants
    await world.work()
    job_id = await submit(world)
    # The events are job.started, if a poll saw that, and job.succeeded.
    spans = await exported(sink, REQUEST, "submit", "poll", "settle", "deliver")
    request = request_of(spans)
    assert (request.parent_id, request.kind) == (CALLER, 2)
    assert {span.attributes.get("gateway.job.id", job_id) for span in spans} == {job_id}
    by_name = {span.name: span for span in spans}
    assert by_name["submit"].attributes["gateway.outcome"] == "submitted"
    assert by_name["settle"].attributes["gateway.outcome"] == "succeeded"
    assert by_name["deliver"].attributes["http.response.status_code"] == 200
    assert {span.resource["gateway.process"] for span in spans} == {
        "gateway serve",
        "gateway worker",
    }
    whole = b"".join(span.raw for span in sink.spans).decode("latin-1")
    assert [word for word in SECRETS if word in whole] == []
    shown = await world.told("GET", f"/v1/job/{job_id}", tenant.key)
    assert shown["gateway"]["traceId"] == TRACE
    for role, event in (("serve", "http"), ("worker", "submit"), ("worker", "job")):
        # The lines of finished work are held for a moment.
        await until(lambda role=role, event=event: logged(world, role, event), 10)


@pytest.mark.parametrize("point", ["submit.sent", "submit.committed", "poll.settled"])
async def test_a_trace_goes_on_after_a_worker_was_killed(
    world: World, sink: Sink, point: str
) -> None:
    doomed = await world.work(point)
    await submit(world)
    assert await doomed.ended() == -9
    await world.work()
    spans = await exported(sink, REQUEST, "poll", "settle", "deliver")
    assert request_of(spans).parent_id == CALLER


async def test_a_caller_that_is_not_sampled_leaves_no_span_but_the_id_in_logs(
    world: World, sink: Sink
) -> None:
    await world.work()
    await submit(world, TRACEPARENT[:-1] + "0")
    marker = TRACEPARENT.replace("4bf9", "4bf8")
    await submit(world, marker)
    await asyncio.to_thread(sink.wait_for, marker[3:35], ["deliver"])
    assert sink.of(TRACE) == []
    assert f'"trace_id":"{TRACE}"' in world.log("serve")


async def test_traces_that_are_off_cost_no_import(rig: Rig) -> None:
    check = (
        "import sys, gateway.web.server, gateway.worker, gateway.runtime\n"
        "sys.exit([name for name in sys.modules if name.startswith('opentelemetry')] or None)"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", check, stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")


async def test_a_gateway_whose_collector_is_away_works_and_stops(rig: Rig) -> None:
    away = "http://127.0.0.1:1"
    async with start_world(
        rig, tenants=1, policy=SHORT, OTEL_EXPORTER_OTLP_ENDPOINT=away, OTEL_BSP_SCHEDULE_DELAY="20"
    ) as world:
        worker = await world.work()
        job_id = await submit(world)
        (tenant,) = world.tenants
        await until(lambda: seen(rig, tenant), 60)
        shown = await world.told("GET", f"/v1/job/{job_id}", tenant.key)
        assert shown["gateway"]["traceId"] == TRACE
        assert await worker.stop() == 0
