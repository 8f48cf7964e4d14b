"""JSON Schemas of what is read and answered: msgspec's, with descriptions and formats."""

from collections.abc import Iterable
from typing import Any, TypeAlias, cast

import msgspec

from gateway.errors import GatewayError
from gateway.web.openapi.examples import EXAMPLES
from gateway.web.openapi.glossary import describe
from gateway.web.schemas.timestamps import Instant

Json: TypeAlias = dict[str, Any]

_REFERENCE = "#/components/schemas/{name}"
_TIME: Json = {"type": "string", "format": "date-time"}
# Where the type says less than there is to say.
_CODE = "ErrorCode"


def reference(name: str) -> Json:
    """A schema that is described under a name."""
    return {"$ref": _REFERENCE.format(name=name)}


def schemas_of(kinds: Iterable[Any]) -> tuple[list[Json], Json]:
    """The schemas of types, and those that they refer to, by name."""
    given, named = msgspec.json.schema_components(
        list(kinds), schema_hook=_hook, ref_template=_REFERENCE
    )
    shapes = [cast("Json", _tidy(one)) for one in given]
    return shapes, {name: _named(name, shape) for name, shape in named.items()}


def error_codes() -> Json:
    """Every code that a request can be refused with."""
    codes = sorted({error.code for error in _errors(GatewayError)})
    text = "Stable: go by this and not by the text. New ones may be added."
    return {"title": _CODE, "type": "string", "enum": codes, "description": text}


def _errors(root: type[GatewayError]) -> Iterable[type[GatewayError]]:
    yield root
    for error in root.__subclasses__():
        yield from _errors(error)


def _hook(kind: type) -> Json:
    if kind is Instant:
        return dict(_TIME)
    raise NotImplementedError


def _named(name: str, shape: Json) -> Json:
    named = cast("Json", _tidy(shape))
    for field, inner in named.get("properties", {}).items():
        text = describe(name, field)
        if text:
            inner["description"] = text
    if name == "Problem":
        named["properties"]["code"] = reference(_CODE) | {
            "description": named["properties"]["code"]["description"]
        }
    if name in EXAMPLES:
        named["examples"] = EXAMPLES[name]
    return named


def _tidy(shape: object) -> object:
    """Without defaults, which generators take for "is always there", and with the type of words."""
    if isinstance(shape, list):
        return [_tidy(one) for one in cast("list[object]", shape)]
    if not isinstance(shape, dict):
        return shape
    given = cast("Json", shape)
    kept = {key: _tidy(value) for key, value in given.items() if key != "default"}
    if "properties" in given:  # whose keys are names, and not words of JSON Schema
        kept["properties"] = {name: _tidy(one) for name, one in given["properties"].items()}
    if given.get("type") == "object" and "properties" not in given:
        kept.setdefault("additionalProperties", True)
    if "$ref" in given:
        kept.pop("type", None)
    words = given.get("enum")
    if "type" not in given and words and all(isinstance(word, str) for word in words):
        kept["type"] = "string"
    return kept
