"""The composition root: settings reach the parts, and reports reach log and metrics."""

import base64
import json
import logging
import sys
from collections.abc import Iterator

import pytest
import structlog
from structlog.testing import capture_logs

from gateway import log, metrics
from gateway.adapters.clock import PostgresClock
from gateway.adapters.musicai.client import MusicAi
from gateway.adapters.wakeups.queue import ArqQueue
from gateway.core.crypto.cipher import AssociatedData
from gateway.errors import Unavailable
from gateway.flows.process.vitals import Vitals
from gateway.ports import Reply
from gateway.runtime import Report, open_deps, policy_of, sender_of
from gateway.settings import Settings
from tests.adapters.connect_proxy import proxying
from tests.adapters.receiver import receiving
from tests.builders import TRACEPARENT
from tests.fakes import FakeTracer, FixedClock

DEV = {"env": "dev", "allow_private_callbacks": True}


def settings(database_url: str = "postgresql://u@127.0.0.1:1/d", **changes: object) -> Settings:
    given = {
        "database_url": database_url,
        "redis_url": "redis://127.0.0.1:1/0",
        "master_key": base64.b64encode(bytes(32)).decode(),
    }
    return Settings.model_validate(given | changes)


def test_the_engines_tunables_come_from_the_settings():
    policy = policy_of(
        settings(
            submit_concurrency=7,
            deliver_concurrency=8,
            max_in_flight=9,
            max_queued=10,
            max_rate=12,
            delivery_delays="1,2",
            job_deadline_seconds=11,
        )
    )
    assert (policy.submit_concurrency, policy.deliver_concurrency) == (7, 8)
    assert (policy.max_in_flight, policy.max_queued, policy.deadline) == (9, 10, 11)
    assert policy.max_rate == 12
    assert policy.delivery_delays == (1.0, 2.0)


@pytest.mark.parametrize(
    ("changes", "url", "refused"),
    [
        ({}, "http://93.184.216.34/", True),
        ({}, "https://127.0.0.1/", True),
        ({}, "https://10.1.2.3/", True),
        ({}, "https://93.184.216.34/", False),
        ({}, "https://93.184.216.34:9000/", True),
        ({"callback_ports": "9000"}, "https://93.184.216.34:9000/", False),
        ({"callback_networks": "10.0.0.0/8"}, "https://10.1.2.3/", False),
        (DEV, "http://127.0.0.1:9000/", False),
    ],
    ids=str,
)
async def test_whom_the_sender_may_call_comes_from_the_settings(
    changes: dict, url: str, refused: bool
):
    sender = sender_of(settings(**changes))
    try:
        assert (await sender.refusal(url) is not None) == refused
    finally:
        await sender.aclose()


async def test_webhooks_go_through_the_egress_proxy_of_the_settings():
    async with proxying() as proxy, receiving() as receiver:
        way = f"http://me:pw@127.0.0.1:{proxy.port}"
        sender = sender_of(settings(**DEV, egress_proxy=way))
        try:
            assert isinstance(await sender.send(receiver.webhook()), Reply)
        finally:
            await sender.aclose()
    assert proxy.asked_for == [f"127.0.0.1:{receiver.port}"]


async def test_a_process_opens_though_nothing_can_be_reached():
    crash_point: list[str] = []
    with capture_logs():
        async with open_deps(
            settings(upstream_url="http://sim:1/v1"), "test", crash_point.append
        ) as deps:
            assert deps.upstream_url == "http://sim:1/v1"
            assert isinstance(deps.upstream, MusicAi)
            assert deps.catalogue is deps.upstream
            assert isinstance(deps.queue, ArqQueue)
            assert isinstance(deps.clock, PostgresClock)
            assert isinstance(deps.observer, Report)
            deps.crash_point("here")
            with pytest.raises(Unavailable):
                async with deps.db.begin():
                    pass
    assert crash_point == ["here"]


async def test_parts_are_real(database_url: str, redis_url: str):
    named = settings(database_url, redis_url=redis_url)
    async with open_deps(named, "the-name") as deps:
        async with deps.db.single() as tx:
            row = await tx.row("SELECT current_setting('application_name')")
            assert row is not None
            assert row[0] == "the-name"
        place = AssociatedData("t", "a", "b")
        sealed = deps.cipher.seal(b"plain", place, deps.ids.random_bytes(12))
        assert deps.cipher.open(sealed, place) == b"plain"


async def test_a_replica_is_opened_where_one_is_named(database_url: str, redis_url: str):
    with capture_logs() as lines:
        async with open_deps(settings(database_url, redis_url=redis_url), "test") as deps:
            assert deps.replica is None
        named = settings(
            database_url,
            redis_url=redis_url,
            read_database_url="postgresql://u@127.0.0.1:1/d?target_session_attrs=any",
        )
        async with open_deps(named, "test") as deps:
            assert deps.replica is not None
            await deps.replica.check()
            await deps.replica.check()
    (line,) = [one for one in lines if "replica" in one]
    assert line["event"] == "history is read from the primary, not the replica"
    assert (line["log_level"], line["replica"]) == ("warning", "127.0.0.1:1")
    assert line["cause"] == "connection refused"


@pytest.fixture
def report() -> Iterator[Report]:
    """A report that writes JSON; logging is left as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    log.configure("info", "json")
    yield Report(FixedClock(), Vitals())
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("work", "outcome", "level"),
    [
        ("submit", "submitted", "info"),
        ("submit", "unknown", "warning"),
        ("submit", "busy", "warning"),
        ("poll", "denied", "warning"),
        ("deliver", "exhausted", "warning"),
        ("deliver", "gone", "warning"),
    ],
)
def test_a_unit_of_work_is_one_wide_line(
    report: Report, capsys: pytest.CaptureFixture[str], work: str, outcome: str, level: str
):
    report.done(work, outcome, seconds=0.123456, job_id="j")
    assert json.loads(capsys.readouterr().err) == {
        "event": work,
        "level": level,
        "timestamp": "2026-01-02T03:04:05Z",
        "outcome": outcome,
        "seconds": 0.1235,
        "job_id": "j",
    }


@pytest.mark.parametrize(
    ("work", "outcome", "sample"),
    [("sweep", "quiet", "gw_sweeps_total"), ("poll", "ok", "gw_job_polls_total")],
)
def test_work_that_found_nothing_is_counted_but_not_logged(
    report: Report, capsys: pytest.CaptureFixture[str], work: str, outcome: str, sample: str
):
    before = metrics.REGISTRY.get_sample_value(sample, {"result": outcome}) or 0.0
    report.done(work, outcome, seconds=0.1)
    assert capsys.readouterr().err == ""
    assert metrics.REGISTRY.get_sample_value(sample, {"result": outcome}) == before + 1


def test_a_line_names_the_trace_and_its_span_ends_with_the_same_fields(
    report: Report, capsys: pytest.CaptureFixture[str]
):
    span = FakeTracer().start("submit", TRACEPARENT)
    report.done("submit", "submitted", seconds=0.1, span=span, job_id="j")
    line = json.loads(capsys.readouterr().err)
    assert (line["trace_id"], line["job_id"]) == (TRACEPARENT[3:35], "j")
    assert "span" not in line
    assert (span.outcome, span.fields) == ("submitted", {"job_id": "j"})


def test_the_span_of_work_that_is_not_logged_ends_too(report: Report):
    span = FakeTracer().start("poll", TRACEPARENT)
    report.done("poll", "ok", seconds=0.1, span=span)
    assert span.outcome == "ok"


@pytest.fixture
def otel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that asks for traces."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    return monkeypatch


async def test_traces_are_off_unless_the_environment_asks_for_them():
    with capture_logs() as lines:
        async with open_deps(settings(), "test") as deps:
            assert deps.tracer is None
    assert [one for one in lines if "traces" in one["event"]] == []


@pytest.mark.usefixtures("otel")
async def test_the_environment_turns_traces_on():
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra `otel`")
    with capture_logs():
        async with open_deps(settings(), "test") as deps:
            assert deps.tracer is not None
            assert deps.tracer.start("http", TRACEPARENT).traceparent[3:35] == TRACEPARENT[3:35]
            assert deps.span("submit", None) is None


async def test_what_is_in_the_way_of_traces_is_logged_and_the_process_starts(
    otel: pytest.MonkeyPatch,
):
    otel.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with capture_logs() as lines:
        async with open_deps(settings(), "test") as deps:
            assert deps.tracer is None
    (line,) = [one for one in lines if one["event"] == "traces are off"]
    assert line["log_level"] == "warning"
    assert "'grpc'" in line["cause"]


async def test_a_missing_package_is_named_and_the_process_starts(otel: pytest.MonkeyPatch):
    for name in [one for one in sys.modules if one.startswith("gateway.adapters.tracing")]:
        otel.delitem(sys.modules, name)
    otel.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with capture_logs() as lines:
        async with open_deps(settings(), "test") as deps:
            assert deps.tracer is None
    (line,) = [one for one in lines if one["event"] == "traces are off"]
    assert "pip install 'job-gateway[otel]'" in line["cause"]
