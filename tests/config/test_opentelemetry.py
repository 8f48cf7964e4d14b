"""The OTEL_* variables: when traces are on, and why they are not."""

from typing import Any

import pytest

from gateway.config.opentelemetry import TraceSettings, trace_settings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
TRACES_ENDPOINT = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}
OFF, ON = TraceSettings(is_on=False), TraceSettings(is_on=True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, OFF),
        ({"OTEL_SERVICE_NAME": "gateway", "OTEL_TRACES_SAMPLER": "always_on"}, OFF),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318"}, OFF),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, OFF),
        (ENDPOINT, ON),
        (TRACES_ENDPOINT, ON),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ON),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, OFF),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, OFF),
        (ENDPOINT | {"OTEL_SDK_DISABLED": " TRUE "}, OFF),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, ON),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, ON),
        (
            ENDPOINT
            | {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            },
            ON,
        ),
    ],
)
def test_traces_are_on_where_a_collector_is_named(given: Any, expected: TraceSettings) -> None:
    assert trace_settings(given) == expected


@pytest.mark.parametrize(
    "given",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
    ],
)
def test_what_the_gateway_cannot_do_is_named_and_turns_traces_off(given: dict[str, str]) -> None:
    found = trace_settings(ENDPOINT | given)
    (name, value), *_ = given.items()
    assert not found.is_on
    assert found.obstacle.startswith(f"{name} is {value!r}; the gateway knows ")
