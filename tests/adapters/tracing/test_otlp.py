"""The tracer on a real collector: what is exported, under which parent, and what is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from uuid import UUID

import pytest

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra `otel`")

from gateway.adapters.tracing.otlp import OtlpTracer
from gateway.core.trace_context import parse_traceparent, trace_id_of
from tests.adapters.tracing.sink import Sink, collecting
from tests.builders import TRACEPARENT
from tests.fakes import FixedClock

TRACE, CALLER = TRACEPARENT[3:35], TRACEPARENT[36:52]
UNSAMPLED = TRACEPARENT[:-1] + "0"
SERVER, CLIENT, INTERNAL = 2, 3, 1


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with collecting() as made:
        for name, value in made.env().items():
            monkeypatch.setenv(name, value)
        yield made


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


Open = Callable[[], OtlpTracer]


@pytest.fixture
async def opened(sink: Sink, clock: FixedClock) -> AsyncIterator[Open]:
    """Tracers on the environment as it is when they are opened."""
    made: list[OtlpTracer] = []

    def open_() -> OtlpTracer:
        made.append(OtlpTracer(clock, "gateway test"))
        return made[-1]

    yield open_
    for tracer in made:
        await tracer.close()


async def test_a_request_continues_the_trace_of_its_caller(
    sink: Sink, opened: Open, clock: FixedClock
):
    tracer = opened()
    began = clock.now()
    request = tracer.start("http", TRACEPARENT)
    clock.advance(0.25)
    request.note(job_id=UUID(int=7))
    request.end("200", method="POST", route="/v1/job", tenant="acme", request_id="r", key_id="k")
    await tracer.close()
    (span,) = sink.spans
    assert (span.trace_id, span.parent_id, span.kind) == (TRACE, CALLER, SERVER)
    assert span.traceparent == request.traceparent
    assert span.name == "POST /v1/job"
    assert span.attributes == {
        "http.request.method": "POST",
        "http.route": "/v1/job",
        "http.response.status_code": 200,
        "gateway.job.id": str(UUID(int=7)),
        "gateway.tenant.slug": "acme",
    }
    assert not span.is_failed
    assert span.start == int(began.timestamp()) * 1_000_000_000
    assert span.end - span.start == 250_000_000
    assert sink.paths == ["/v1/traces"]


async def test_a_child_is_a_part_of_the_stored_context(sink: Sink, opened: Open, clock: FixedClock):
    tracer = opened()
    request = tracer.start("http")
    poll = tracer.child("poll", request.traceparent, ago=1.5)
    poll.end("succeeded", job_id=UUID(int=7), calls=3)
    request.end("200", method="POST", route="/v1/job")
    await tracer.close()
    child, parent = sorted(sink.spans, key=lambda span: span.name, reverse=True)
    assert (child.name, child.kind) == ("poll", INTERNAL)
    assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.span_id)
    assert parent.parent_id == ""
    assert child.attributes == {"gateway.outcome": "succeeded", "gateway.job.id": str(UUID(int=7))}
    assert parent.start - child.start == 1_500_000_000
    assert child.end == parent.start


@pytest.mark.parametrize(
    "text", [None, "", "nonsense", TRACEPARENT.upper(), f"{TRACEPARENT}, {TRACEPARENT}", "\x00" * 9]
)
async def test_an_invalid_context_of_a_caller_is_ignored(
    sink: Sink, opened: Open, text: str | None
):
    tracer = opened()
    span = tracer.start("http", text)
    span.end("200", method="GET", route="/v1/job")
    await tracer.close()
    assert [(one.trace_id, one.parent_id) for one in sink.spans] == [
        (trace_id_of(span.traceparent), "")
    ]
    assert parse_traceparent(span.traceparent) is not None
    assert TRACE not in span.traceparent


async def test_a_caller_may_ask_for_no_samples(sink: Sink, opened: Open):
    tracer = opened()
    request = tracer.start("http", UNSAMPLED)
    request.note(job_id=UUID(int=7))
    child = tracer.child("submit", request.traceparent)
    child.end("submitted")
    request.end("200", method="POST", route="/v1/job")
    await tracer.close()
    assert sink.spans == []
    for span in (request, child):
        assert trace_id_of(span.traceparent) == TRACE
        assert span.traceparent.endswith("-00")


@pytest.mark.parametrize(
    ("sampler", "ratio", "caller", "is_sampled"),
    [
        ("parentbased_always_off", "", None, False),
        ("parentbased_always_off", "", TRACEPARENT, True),
        ("always_off", "", TRACEPARENT, False),
        ("always_on", "", UNSAMPLED, True),
        ("traceidratio", "0.0", TRACEPARENT, False),
        ("parentbased_traceidratio", "0.0", TRACEPARENT, True),
        ("parentbased_traceidratio", "0.0", None, False),
    ],
)
async def test_sampling_follows_the_setting_and_the_caller(
    sink: Sink,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    *,
    sampler: str,
    ratio: str,
    caller: str | None,
    is_sampled: bool,
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", ratio)
    tracer = opened()
    request = tracer.start("http", caller)
    tracer.child("submit", request.traceparent).end("submitted")
    request.end("200", method="POST", route="/v1/job")
    await tracer.close()
    assert len(sink.spans) == (2 if is_sampled else 0)


@pytest.mark.parametrize(
    ("work", "outcome", "kind", "is_failed"),
    [
        ("submit", "submitted", CLIENT, False),
        ("submit", "refused", CLIENT, True),
        ("submit", "unknown", CLIENT, True),
        ("deliver", "delivered", CLIENT, False),
        ("deliver", "retry", CLIENT, True),
        ("deliver", "exhausted", CLIENT, True),
        ("settle", "failed", INTERNAL, False),
        ("http", "404", SERVER, False),
        ("http", "503", SERVER, True),
    ],
)
async def test_what_went_wrong_is_shown_as_failed(
    sink: Sink, opened: Open, *, work: str, outcome: str, kind: int, is_failed: bool
):
    tracer = opened()
    tracer.child(work, TRACEPARENT).end(outcome)
    await tracer.close()
    assert [(span.kind, span.is_failed) for span in sink.spans] == [(kind, is_failed)]


async def test_only_listed_fields_leave_the_process(sink: Sink, opened: Open):
    secrets = {
        "reason": "upstream said whsec_secret",
        "authorization": "jgw_secret",
        "url": "https://user:secret@hooks.example.com",
        "params": '{"secret":1}',
        "anything": "secret",
    }
    tracer = opened()
    span = tracer.child("deliver", TRACEPARENT)
    span.note(**secrets)
    span.end("retry", number=2, status=500, error_class="server", endpoint_id=None, **secrets)
    await tracer.close()
    (sent,) = sink.spans
    assert b"secret" not in sent.raw
    assert sent.attributes == {
        "gateway.outcome": "retry",
        "gateway.delivery.attempt": 2,
        "http.response.status_code": 500,
        "error.type": "server",
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "job-gateway"),
        ({"OTEL_SERVICE_NAME": "jobs"}, "jobs"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=named,deployment.environment=test"}, "named"),
    ],
)
async def test_the_service_has_the_name_of_the_settings(
    sink: Sink,
    opened: Open,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    expected: str,
):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    tracer = opened()
    tracer.start("http").end("200", method="GET", route="/v1/job")
    await tracer.close()
    resource = sink.spans[0].resource
    assert (resource["service.name"], resource["gateway.process"]) == (expected, "gateway test")


async def test_a_clock_that_is_set_back_makes_no_span_of_less_than_nothing(
    sink: Sink, opened: Open, clock: FixedClock
):
    tracer = opened()
    span = tracer.child("submit", TRACEPARENT)
    clock.advance(-timedelta(seconds=5).total_seconds())
    span.end("submitted")
    await tracer.close()
    assert sink.spans[0].end == sink.spans[0].start


async def test_spans_are_exported_while_the_process_works(sink: Sink, opened: Open):
    tracer = opened()
    tracer.child("submit", TRACEPARENT).end("submitted")
    await asyncio.to_thread(sink.wait_for, TRACE, ["submit"])


async def _ends(close: Awaitable[None]) -> None:
    async with asyncio.timeout(30):
        await close


@pytest.mark.parametrize("status", [500, 503])
async def test_a_collector_that_fails_keeps_nobody_from_ending(
    sink: Sink, opened: Open, status: int
):
    sink.status = status
    tracer = opened()
    tracer.child("submit", TRACEPARENT).end("submitted")
    await _ends(tracer.close())
    assert sink.spans == []


async def test_no_collector_at_all_keeps_nobody_from_ending(
    opened: Open, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    tracer = opened()
    tracer.child("submit", TRACEPARENT).end("submitted")
    await _ends(tracer.close())
