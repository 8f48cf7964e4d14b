"""Print a delivery for people: its state, its body, every attempt, and what to do about a failure."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.terminal.exact_json import loads
from gateway.cli.terminal.output import (
    print_fields,
    print_heading,
    print_json,
    print_line,
    print_table,
)
from gateway.cli.terminal.table import Column
from gateway.core.explain.failure_advice import WEBHOOK_ADVICE

DELIVERIES = (
    Column("id"),
    Column("type", rank=3),
    Column("state", rank=1),
    Column("attemptCount", rank=6, title="ATTEMPTS"),
    Column("outcome", rank=2),
    Column("lastStatus", rank=7),
    Column("nextAttemptAt", rank=4),
    Column("url", least=15, rank=5),
    Column("createdAt", rank=8),
)
ATTEMPTS = (
    Column("startedAt"),
    Column("type", rank=5),
    Column("number", title="TRY", rank=3),
    Column("status", rank=1),
    Column("errorClass", title="ERROR", rank=2),
    Column("durationMs", title="MS", rank=6),
    Column("detail", least=12, rank=4),
    Column("url", least=15, rank=7),
)
_NOT_FIELDS = ("requestBody", "attempts")


def show_delivery(found: Mapping[str, Any]) -> None:
    """Print a delivery with all its attempts."""
    print_fields([(name, value) for name, value in found.items() if name not in _NOT_FIELDS])
    print_heading("Body")
    _print_body(found["requestBody"])
    attempts: list[dict[str, Any]] = found["attempts"]
    if not attempts:
        return
    print_heading("Attempts")
    print_table([{**one, "type": found["type"]} for one in attempts], ATTEMPTS)
    last = attempts[-1]
    print_heading("Last request")
    print_fields(list(last["requestHeaders"].items()))
    if last["status"] is not None:
        print_heading(f"Response {last['status']}")
        headers: dict[str, str] = last["responseHeaders"] or {}
        print_fields(list(headers.items()))
        print_line(last["responseBody"] or "")
    advice = WEBHOOK_ADVICE.get(last["errorClass"] or "")
    if advice:
        print_heading("What to do")
        print_line(advice)


def _print_body(body: str) -> None:
    try:
        print_json(loads(body), indent=2)
    except ValueError:
        print_line(body)
