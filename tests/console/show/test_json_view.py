"""JSON of tenants as HTML: exact, escaped, and never so much that a browser suffers."""

import json

import pytest

from gateway.console.show.json_view import json_view


@pytest.mark.parametrize(
    "number",
    ["12345678901234567890123", "1.10", "1e400", "-0", "0.1000000000000000055511151231257827"],
)
def test_numbers_keep_each_digit(number: str) -> None:
    assert f'<span class="num">{number}</span>' in json_view(f'{{"a":{number}}}')


def test_texts_and_names_are_escaped() -> None:
    html = json_view(json.dumps({"<b>": '<script>alert("1")</script>', "\u202e": "\x1b\u2066"}))
    assert "<script" not in html
    assert "<b>" not in html
    assert "\u202e" not in html
    assert "\\u2066" in html
    assert "\\u001b" in html


def test_a_name_that_comes_twice_is_shown_twice() -> None:
    assert json_view('{"a":1,"a":2}').count('<span class="key">a</span>') == 2


@pytest.mark.parametrize("text", ["{}", "[]", "null", "true", '""', "1"])
def test_small_values(text: str) -> None:
    assert text.strip('"') in json_view(text)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60 + "]" * 60,
        "[" * 100_000 + "]" * 100_000,
        json.dumps(list(range(5_000))),
        json.dumps("x" * 300_000),
        "{no JSON",
    ],
    ids=["deep", "deeper", "many", "long", "broken"],
)
def test_what_is_too_much_is_shown_as_it_is(text: str) -> None:
    html = json_view(text)
    assert html.startswith('<pre class="json"')
    assert len(html) < 300_000
