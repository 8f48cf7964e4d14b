"""JSON of tenants as HTML: objects fold, numbers keep each digit, and every text is escaped."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from markupsafe import Markup, escape

from gateway.core.text.printable import printable_json, printable_lines

_MOST_BYTES = 256 * 1024
_MOST_VALUES = 2_000
_DEEPEST = 50
_OPEN_TO = 2
_LONGEST_TEXT = 10_000


class _Number(str):
    """A number as it was written, which a double could not keep."""

    __slots__ = ()


class _Object(list[tuple[str, Any]]):
    """The members of an object in their order, also if a name comes twice."""


def json_view(text: str) -> Markup:
    """A JSON text as nested HTML; what is too long, deep or no JSON is shown as the text that it is."""
    if len(text) > _MOST_BYTES:
        return _plain(text)
    try:
        value = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_Object,
        )
    except (ValueError, RecursionError):
        return _plain(text)
    pieces = list(islice(_value(value, 0, ""), _MOST_VALUES + 1))
    if len(pieces) > _MOST_VALUES or any(piece is None for piece in pieces):
        return _plain(text)
    return Markup('<div class="json" tabindex="0">{}</div>').format(
        Markup("").join(filter(None, pieces))
    )


def _plain(text: str) -> Markup:
    cut = text if len(text) <= _MOST_BYTES else f"{text[:_MOST_BYTES]}\n\u2026 cut off here"
    return Markup('<pre class="json" tabindex="0">{}</pre>').format(printable_lines(cut))


def _value(value: object, depth: int, key: str) -> Iterator[Markup | None]:
    """The pieces of one value; a None among them says that it is too deep."""
    if isinstance(value, list) and value:
        yield from _nested(cast("list[Any]", value), depth, key)
    else:
        yield Markup('<div class="leaf">{}{}</div>').format(
            _named(key), _leaf(cast("object", value))
        )


def _nested(value: list[Any], depth: int, key: str) -> Iterator[Markup | None]:
    if depth > _DEEPEST:
        yield None
        return
    is_object = isinstance(value, _Object)
    many = f"{len(value):,} {'fields' if is_object else 'items'}" if len(value) > 1 else ""
    summary = Markup('{}<span class="muted">{} {}</span>').format(
        _named(key), "{ }" if is_object else "[ ]", many
    )
    state = Markup(" open") if depth < _OPEN_TO else ""
    yield Markup('<details{}><summary>{}</summary><div class="inner">').format(state, summary)
    members = value if is_object else [(str(place), one) for place, one in enumerate(value)]
    for name, one in members:
        yield from _value(one, depth + 1, name)
    yield Markup("</div></details>")


def _named(key: str) -> Markup:
    return (
        Markup('<span class="key">{}</span>: ').format(printable_lines(key)) if key else Markup("")
    )


def _leaf(value: object) -> Markup:
    match value:
        case _Number():
            return Markup('<span class="num">{}</span>').format(str(value))
        case str():
            text = printable_json(json.dumps(value[:_LONGEST_TEXT], ensure_ascii=False))
            return Markup('<span class="text">{}{}</span>').format(
                text, "\u2026" if len(value) > _LONGEST_TEXT else ""
            )
        case None | bool():
            return Markup('<span class="word">{}</span>').format(json.dumps(value))
        case _:
            return escape("{}" if isinstance(value, _Object) else "[]")
