"""A collector: takes spans over OTLP/HTTP as a real one does, and keeps them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from typing_extensions import override

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Exported:
    """A span as it arrived; ids in hexadecimal, times in nanoseconds, `raw` as it was on the wire."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_failed: bool
    start: int
    end: int
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]
    raw: bytes

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-01"


@dataclass
class Sink:
    """What arrived; `status` is how requests are answered."""

    url: str = ""
    status: int = 200
    spans: list[Exported] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    came: Condition = field(default_factory=Condition)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of a process that exports to it, without much delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "20"} | more

    def of(self, trace_id: str) -> list[Exported]:
        """The spans of a trace, by their start."""
        return sorted((s for s in self.spans if s.trace_id == trace_id), key=lambda s: s.start)

    def wait_for(self, trace_id: str, names: Sequence[str], seconds: float = 30) -> list[Exported]:
        """The spans of a trace once it has these names, in any order."""

        def is_there() -> bool:
            found = [span.name for span in self.of(trace_id)]
            return all(found.count(name) >= names.count(name) for name in names)

        with self.came:
            assert self.came.wait_for(is_there, seconds), [s.name for s in self.of(trace_id)]
        return self.of(trace_id)

    def take(self, path: str, body: bytes) -> None:
        """Keep the spans of a request."""
        request = ExportTraceServiceRequest.FromString(body)
        with self.came:
            self.paths.append(path)
            for group in request.resource_spans:
                resource = _values(group.resource.attributes)
                for scope in group.scope_spans:
                    for span in scope.spans:
                        made = Exported(
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            span.kind,
                            span.status.code == span.status.STATUS_CODE_ERROR,
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                            _values(span.attributes),
                            resource,
                            span.SerializeToString(),
                        )
                        self.spans.append(made)
            self.came.notify_all()


def _values(pairs: Sequence[KeyValue]) -> dict[str, Value]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None


@contextmanager
def collecting() -> Iterator[Sink]:
    """A collector on a free port, for the time of the block."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if sink.status == 200:
                sink.take(self.path, body)
            self.send_response(sink.status)
            self.send_header("content-length", "0")
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
