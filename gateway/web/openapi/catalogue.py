"""The catalogue of events: what each type means, its schema and an example, as the OpenAPI document has them."""

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple, cast

import msgspec

from gateway.core.events import EVENT_TYPES
from gateway.web.openapi.document import main_document
from gateway.web.openapi.events import event_meaning, event_name
from gateway.web.openapi.schemas import Json

_IN_DOCUMENT = "#/components/schemas/"
_ALONE = "#/$defs/"


class CataloguedEvent(NamedTuple):
    """A type of event; `schema` and `example` are JSON texts of the body of its webhook."""

    type: str
    meaning: str
    schema: str
    example: str


@cache
def event_catalogue() -> tuple[CataloguedEvent, ...]:
    """All types of events."""
    return tuple(map(_catalogued, EVENT_TYPES))


def _catalogued(type_: str) -> CataloguedEvent:
    shapes: Json = main_document()["components"]["schemas"]
    shape = shapes[event_name(type_)]
    named = dict.fromkeys(_names(shape, shapes, set()))
    alone = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_renamed({name: inner for name, inner in shape.items() if name != "examples"}),
        "$defs": {name: _renamed(shapes[name]) for name in sorted(named)},
    }
    meaning = event_meaning(type_)
    return CataloguedEvent(
        type_, meaning[:1].upper() + meaning[1:], _text(alone), _text(shape["examples"][0])
    )


def _names(shape: object, shapes: Json, seen: set[str]) -> Iterator[str]:
    """The names of the schemas that a schema refers to, also by way of others."""
    if isinstance(shape, dict):
        given = cast("Json", shape)
        name = str(given.get("$ref", "")).removeprefix(_IN_DOCUMENT)
        if name and name not in seen:
            seen.add(name)
            yield name
            yield from _names(shapes[name], shapes, seen)
        for inner in given.values():
            yield from _names(inner, shapes, seen)
    elif isinstance(shape, list):
        for inner in cast("list[object]", shape):
            yield from _names(inner, shapes, seen)


def _renamed(shape: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """The same with references within the one document, and without examples."""
    if isinstance(shape, dict):
        given = cast("Json", shape)
        return {
            name: inner.replace(_IN_DOCUMENT, _ALONE) if name == "$ref" else _renamed(inner)
            for name, inner in given.items()
            if name != "examples"
        }
    if isinstance(shape, list):
        return [_renamed(one) for one in cast("list[object]", shape)]
    return shape


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
