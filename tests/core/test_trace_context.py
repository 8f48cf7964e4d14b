"""W3C Trace Context: what a caller wrote is read strictly, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.trace_context import TraceContext, parse_traceparent, trace_id_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (GOOD, 1),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-03", 3),
        (f"00-{TRACE}-{SPAN}-ff", 255),
        (f"01-{TRACE}-{SPAN}-01", 1),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", 1),
        (f"fe-{TRACE}-{SPAN}-01-", 1),
    ],
)
def test_a_context_of_the_right_form_is_read(text: str, flags: int) -> None:
    assert parse_traceparent(text) == TraceContext(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        GOOD.upper(),
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"{GOOD}, {GOOD}",
        f"{GOOD}-",
        f"{GOOD}-00",
        f"{GOOD}0",
        GOOD[:-1],
        GOOD[3:],
        f"ff-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"cc-{TRACE}-{SPAN}-01-a\nb",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE}-{SPAN}-1",
        f"00_{TRACE}_{SPAN}_01",
        f"\u0660\u0660-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-\u0660\u0661",
        "0" * 10_000,
        "-" * 10_000,
    ],
)
def test_anything_else_is_not_a_context(text: str) -> None:
    assert parse_traceparent(text) is None


@given(st.text(alphabet="0123456789abcdefABCDEFg- \n", max_size=60))
def test_what_is_read_can_be_written_again(text: str) -> None:
    found = parse_traceparent(text)
    if found is not None:
        again = f"00-{found.trace_id}-{found.span_id}-{found.flags:02x}"
        assert parse_traceparent(again) == found
        assert again[3:55] == text[3:55]


def test_the_trace_id_is_a_part_of_the_context() -> None:
    assert trace_id_of(GOOD) == TRACE
    assert trace_id_of(None) is None
