"""W3C Trace Context: reads a `traceparent`, strictly, because a caller wrote it."""

import re
from typing import NamedTuple

# Version ff and ids of zeros are invalid. A later version may have more fields, behind a dash.
_FORM = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_FIRST_VERSION = "00"
# Where the trace id is in a valid `traceparent`; SQL counts from 1.
TRACE_ID_START, TRACE_ID_LENGTH = 3, 32


class TraceContext(NamedTuple):
    """The trace that a unit of work belongs to, and the span that it is a child of."""

    trace_id: str
    span_id: str
    flags: int


def parse_traceparent(text: str) -> TraceContext | None:
    """Read a `traceparent`; None if it is not as the specification says."""
    found = _FORM.fullmatch(text)
    if found is None or (found["version"] == _FIRST_VERSION and found["more"] is not None):
        return None
    return TraceContext(found["trace"], found["span"], int(found["flags"], 16))


def trace_id_of(traceparent: str | None) -> str | None:
    """The trace id of a valid `traceparent`."""
    if traceparent is None:
        return None
    return traceparent[TRACE_ID_START : TRACE_ID_START + TRACE_ID_LENGTH]
