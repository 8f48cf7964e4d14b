"""A delivery as people read it: how it is, what was sent, and each attempt with what to do about it."""

from collections.abc import Mapping
from typing import Any

from gateway.cli.terminal.exact_json import loads
from gateway.cli.terminal.output import head, print_fields, print_json, print_table, tell
from gateway.cli.terminal.table import Column
from gateway.core.failure_advice import WEBHOOK_ADVICE

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
    """Print all of a delivery."""
    print_fields([(name, value) for name, value in found.items() if name not in _NOT_FIELDS])
    head("Body")
    _print_body(found["requestBody"])
    attempts: list[dict[str, Any]] = found["attempts"]
    if not attempts:
        return
    head("Attempts")
    print_table([{**one, "type": found["type"]} for one in attempts], ATTEMPTS)
    last = attempts[-1]
    head("The last one sent")
    print_fields(list(last["requestHeaders"].items()))
    if last["status"] is not None:
        head(f"and was answered {last['status']}")
        headers: dict[str, str] = last["responseHeaders"] or {}
        print_fields(list(headers.items()))
        tell(last["responseBody"] or "")
    advice = WEBHOOK_ADVICE.get(last["errorClass"] or "")
    if advice:
        head("What to do")
        tell(advice)


def _print_body(body: str) -> None:
    try:
        print_json(loads(body), indent=2)
    except ValueError:
        tell(body)
