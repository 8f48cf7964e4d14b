"""Spans by the OpenTelemetry SDK, exported over OTLP/HTTP: implements the port Tracer.

A span is made in the caller's thread and put in a queue. A thread of the SDK exports the queue, so
nothing here waits for the collector: if that is away, the queue drops spans. A crash loses what was
not exported. The SDK reads its own settings, the OTEL_* variables.
"""

import asyncio
from datetime import datetime, timedelta
from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from gateway import __version__
from gateway.adapters.tracing.attributes import (
    KINDS,
    OUTCOME,
    attributes_of,
    has_failed,
    http_attributes,
)
from gateway.core.trace_context import parse_traceparent
from gateway.ports import Clock

_SERVICE = "job-gateway"
_NAMELESS = "unknown_service"
# A process that stops waits no longer for the collector.
_FLUSH_SECONDS = 3.0
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


class OtlpTracer:
    """The tracer of one process."""

    def __init__(self, clock: Clock, process: str, exporter: SpanExporter | None = None) -> None:
        self._clock = clock
        # Not at exit: the process closes it, within a time limit.
        self._provider = TracerProvider(resource=_resource(process), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("gateway", __version__)

    def start(self, work: str, traceparent: str | None = None) -> "OtlpSpan":
        """Begin a trace, or continue that of a caller if its `traceparent` is valid."""
        return self._begin(work, traceparent, 0.0)

    def child(self, work: str, parent: str, *, ago: float = 0.0) -> "OtlpSpan":
        """Begin a span in a stored context; it began `ago` seconds ago."""
        return self._begin(work, parent, ago)

    async def close(self) -> None:
        """Export what is left, for at most a few seconds."""
        ending = Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, _FLUSH_SECONDS)

    def _begin(self, work: str, parent: str | None, ago: float) -> "OtlpSpan":
        began_at = _nanoseconds(self._clock.now() - timedelta(seconds=ago))
        span = self._tracer.start_span(
            work, _context(parent), KINDS.get(work, SpanKind.INTERNAL), start_time=began_at
        )
        return OtlpSpan(work, span, self._clock, began_at)


class OtlpSpan:
    """One span; it costs little if the sampler has left it out."""

    def __init__(self, work: str, span: OtelSpan, clock: Clock, began_at: int) -> None:
        self._work = work
        self._span = span
        self._clock = clock
        self._began_at = began_at
        of = span.get_span_context()
        self._traceparent = f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}"

    @property
    def traceparent(self) -> str:
        """Its context in the form of W3C Trace Context."""
        return self._traceparent

    def note(self, **fields: object) -> None:
        """Add the fields that may be exported."""
        if self._span.is_recording():
            self._span.set_attributes(attributes_of(fields))

    def end(self, outcome: str, **fields: object) -> None:
        """End it, with the fields that may be exported."""
        if not self._span.is_recording():
            return
        if self._work == "http":
            self._span.set_attributes(http_attributes(outcome, fields))
            self._span.update_name(f"{fields.get('method')} {fields.get('route')}".strip())
        else:
            self._span.set_attributes({OUTCOME: outcome, **attributes_of(fields)})
        if has_failed(self._work, outcome):
            self._span.set_status(StatusCode.ERROR)
        # The clock may have been corrected meanwhile.
        self._span.end(max(self._began_at, _nanoseconds(self._clock.now())))


def _context(parent: str | None) -> Context:
    """The context of a parent; an empty one, in which a new trace begins, without a valid parent."""
    of = parse_traceparent(parent) if parent else None
    if of is None:
        return Context()
    trace_id, span_id = int(of.trace_id, 16), int(of.span_id, 16)
    flags = TraceFlags(of.flags)
    remote = SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def _resource(process: str) -> Resource:
    """What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, and our own where they say nothing."""
    given = Resource.create({SERVICE_VERSION: __version__, "gateway.process": process})
    if str(given.attributes.get(SERVICE_NAME, _NAMELESS)).startswith(_NAMELESS):
        return given.merge(Resource({SERVICE_NAME: _SERVICE}))
    return given


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1_000
