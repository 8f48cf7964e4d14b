"""Content negotiation by the header Accept."""

import pytest

from gateway.web.parse.accept_header import preferred

_OFFERED = ("application/json", "text/csv", "application/x-ndjson")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("application/json, text/plain, */*", "application/json"),
        ("application/*", "application/json"),
        ("image/png", "application/json"),
        ("text/csvx", "application/json"),
        ("text/csv", "text/csv"),
        ("Text/CSV ; Charset=utf-8 ; Q=0.9, application/xml;q=1", "text/csv"),
        ("text/*", "text/csv"),
        ("text/csv, */*;q=0.1", "text/csv"),
        ("*/*, text/csv", "text/csv"),
        ("application/x-ndjson", "application/x-ndjson"),
        # By weight, then by order.
        ("application/json, text/csv;q=0.5", "application/json"),
        ("application/json;q=0.5, text/csv;q=0.501", "text/csv"),
        ("text/csv;q=0.5, application/x-ndjson;q=.9, */*;q=0.1", "application/x-ndjson"),
        ("application/json, text/csv", "application/json"),
        ("application/x-ndjson, text/csv, application/json", "application/x-ndjson"),
        # The most specific range counts, and weight 0 is never chosen.
        ("text/csv;q=0, application/json", "application/json"),
        ("text/csv;q=0.000", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("application/json;q=0, */*;q=0.1", "text/csv"),
        ("application/json;q=0.1, text/*;q=0.5, text/csv;q=0", "application/json"),
        # Malformed headers.
        ("text/csv;q=nan", "application/json"),
        ("text/csv;q=inf", "application/json"),
        ("text/csv;q=1e999, text/csv;q=-1", "application/json"),
        ("text/csv;q=", "application/json"),
        ("text/csv;q=high, application/x-ndjson", "application/x-ndjson"),
        (',;,=;q,/,"; q="1,\xff\x00', "application/json"),
        ('text/csv;q="1"', "text/csv"),
    ],
)
def test_the_preferred_media_type(accept: str, expected: str) -> None:
    assert preferred(accept, _OFFERED) == expected
