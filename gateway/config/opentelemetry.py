"""Whether the OTEL_* variables of the OpenTelemetry specification ask for traces.

The SDK reads all other ones of them by itself.
"""

from collections.abc import Mapping
from typing import NamedTuple

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OURS = "http/protobuf"


class TraceSettings(NamedTuple):
    """Whether traces are on; `obstacle` says why they are off although they are asked for."""

    is_on: bool
    obstacle: str = ""


def trace_settings(environment: Mapping[str, str]) -> TraceSettings:
    """Read the variables. One that is empty counts as not set."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return TraceSettings(is_on=False)
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    has_endpoint = any(environment.get(name) for name in _ENDPOINTS)
    if exporter == "none" or not (exporter or has_endpoint):
        return TraceSettings(is_on=False)
    if exporter not in ("", "otlp"):
        return _refused("OTEL_TRACES_EXPORTER", exporter, "otlp")
    for name in _PROTOCOLS:
        if protocol := environment.get(name):
            if protocol != _OURS:
                return _refused(name, protocol, _OURS)
            break
    return TraceSettings(is_on=True)


def _refused(name: str, value: str, known: str) -> TraceSettings:
    return TraceSettings(is_on=False, obstacle=f"{name} is {value!r}; the gateway knows {known}")
