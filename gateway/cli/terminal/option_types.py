"""Types of option values beyond those of click: durations, times, lists, JSON and pairs."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import click

from gateway.cli.terminal.exact_json import loads
from gateway.cli.terminal.text_files import read_text

_DURATION = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def duration(value: str) -> float:
    """Parse a number with its unit, such as 90s, 15m, 1h, 30d or 2w, to seconds."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 15m, 1h or 30d.")
    return float(match[1]) * _SECONDS[match[2]]


def moment(value: str) -> str:
    """Parse how long ago, a date in UTC, or a time with its offset to an ISO 8601 time."""
    try:
        at = _instant(value)
    except (ValueError, OverflowError):
        at = None
    if at is None or at.tzinfo is None:
        reason = "is not a time such as 2h (ago), 2026-01-31 or 2026-01-31T12:00:00Z."
        raise click.BadParameter(f"{value!r} {reason}")
    return at.isoformat()


def _instant(value: str) -> datetime:
    if _DURATION.fullmatch(value):
        return datetime.now(UTC) - timedelta(seconds=duration(value))
    at = datetime.fromisoformat(value)
    return at.replace(tzinfo=UTC) if _DATE.fullmatch(value) else at


def comma_list(value: str) -> list[str]:
    """Split a text at commas."""
    return [word.strip() for word in value.split(",") if word.strip()]


def json_object(value: str) -> dict[str, Any]:
    """Parse a JSON object: the text itself, @FILE, or - for standard input."""
    try:
        found: object = loads(_content(value))
    except ValueError as error:
        raise click.BadParameter(f"is not valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.BadParameter("must be a JSON object.")
    return cast("dict[str, Any]", found)


def _content(value: str) -> str:
    if value == "-":
        return read_text(Path("-"))
    return read_text(Path(value[1:])) if value.startswith("@") else value


def pairs(values: Sequence[str]) -> dict[str, str]:
    """Parse texts such as NAME=VALUE."""
    wrong = next((value for value in values if "=" not in value), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not of the form NAME=VALUE.")
    return dict(value.split("=", 1) for value in values)


def header(line: str) -> tuple[str, str]:
    """Split a header line into its name and value."""
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"{line!r} is not a header such as 'webhook-id: ...'.")
    return name.strip(), value.strip()
