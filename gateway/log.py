"""Structured logs on standard error, with one wide line per unit of work."""

import asyncio
import atexit
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO, cast

import msgspec
import structlog

from gateway.core.text.printable import printable, printable_json, printable_lines
from gateway.errors import Unavailable

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_HIDDEN = "[hidden]"
_SECRET_NAMES = frozenset(
    {"authorization", "api_key", "apikey", "secret", "password", "access_key"}
)
_SECRET_FORM = re.compile("jgw_|whsec_|://")

Event = MutableMapping[str, Any]

_SECRET_FORM_BYTES = re.compile(_SECRET_FORM.pattern.encode())
_ENCODER = msgspec.json.Encoder(enc_hook=str)


# Wide lines are held so long, and written together: a system call a line is 4 % of the cost of an accept.
_HELD_SECONDS = 0.05
_MOST_HELD = 500


class _Output:
    """Standard error, which can hold lines for a moment; the order of all lines stays."""

    def __init__(self) -> None:
        self._held: list[str] = []

    def hold(self, line: str) -> None:
        """Write a line within 50 ms, or at once where no event loop runs; a killed process loses it."""
        if not self._held:
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.write(line)
                return
            loop.call_later(_HELD_SECONDS, self.flush)
        self._held.append(line)
        if len(self._held) >= _MOST_HELD:
            self.flush()

    def write(self, text: str) -> int:
        """Write at once, after the held lines."""
        held, self._held = self._held, []
        return sys.stderr.write("".join([*held, text]))

    def flush(self) -> None:
        """Write the held lines."""
        if self._held:
            self.write("")
        sys.stderr.flush()


@dataclass(slots=True)
class _Wide:
    is_json: bool = False
    least: int = 0
    output: _Output = field(default_factory=_Output)


_wide = _Wide()


@atexit.register
def _write_held() -> None:
    with suppress(ValueError):  # the stream is closed already
        _wide.output.flush()


def configure(level: str, style: str) -> None:
    """Set up logging for this process; `style` is json or console."""
    _wide.is_json, _wide.least, _wide.output = style == "json", _LEVELS[level], _Output()
    output = cast("TextIO", _wide.output)
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    render: list[structlog.typing.Processor] = (
        [_printable, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if style == "console"
        else [_json]
    )
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(output),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[handler], force=True)


def write_wide(level: str, event: str, at: datetime, fields: Mapping[str, object]) -> None:
    """Write the line of a finished unit of work like a logger, at a fifth of its cost."""
    if _LEVELS[level] < _wide.least:
        return
    if _wide.is_json and _SECRET_NAMES.isdisjoint(fields):
        stamp = at.isoformat().replace("+00:00", "Z")
        line = _ENCODER.encode({**fields, "event": event, "level": level, "timestamp": stamp})
        # A line that seems to hold a secret is written by the logger below, which hides it.
        if not _SECRET_FORM_BYTES.search(line):
            _wide.output.hold(printable_json(line.decode()) + "\n")
            if level != "info":
                _wide.output.flush()
            return
    structlog.get_logger("gateway").log(_LEVELS[level], event, **fields)


def report_failure(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that the event loop reports, except an outage of Postgres, which is logged elsewhere."""
    error = context.get("exception")
    if not isinstance(error, Unavailable):
        structlog.get_logger("gateway").error(context.get("message", "task failed"), exc_info=error)


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Hide values that seem to be secrets, by the name of the field or by their form."""
    for name, value in event.items():
        if name in _SECRET_NAMES:
            event[name] = _HIDDEN
        elif isinstance(value, str) and _SECRET_FORM.search(value):
            event[name] = _scrubbed(value)
    return event


def _scrubbed(text: str) -> str:
    words = text.split(" ")
    return " ".join(_word(word) for word in words)


def _word(word: str) -> str:
    if "jgw_" in word or "whsec_" in word:
        return _HIDDEN
    scheme, mark, rest = word.partition("://")
    authority, slash, path = rest.partition("/")
    if not mark:
        return word
    # User, password and query may hold secrets.
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path.partition('?')[0]}"


def _json(_logger: object, _method: str, event: Event) -> str:
    return printable_json(_ENCODER.encode(event).decode())


def _printable(_logger: object, _method: str, event: Event) -> Event:
    """Escape control characters in texts; the renderer shows other values by repr, which escapes them."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable_lines(value) if name == "exception" else printable(value)
    return event
