"""JSON Schemas of requests and responses: msgspec's, with descriptions and formats."""

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
# The schema of error codes, whose Python type is only `str`.
_CODE = "ErrorCode"


def reference(name: str) -> Json:
    """A reference to the schema with this name."""
    return {"$ref": _REFERENCE.format(name=name)}


def schemas_of(kinds: Iterable[Any]) -> tuple[list[Json], Json]:
    """The schemas of types, and the schemas that they refer to, by name."""
    given, named = msgspec.json.schema_components(
        list(kinds), schema_hook=_hook, ref_template=_REFERENCE
    )
    shapes = [cast("Json", _cleaned(one)) for one in given]
    return shapes, {name: _named(name, shape) for name, shape in named.items()}


def error_codes() -> Json:
    """The schema of all error codes."""
    codes = sorted({error.code for error in _errors(GatewayError)})
    text = "Stable: compare this, not the text. New codes may be added."
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
    named = cast("Json", _cleaned(shape))
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


def _cleaned(shape: object) -> object:
    """The schema without defaults, and with `type: string` for enums of texts.

    Generators of clients take a field with a default for one that is always there.
    """
    if isinstance(shape, list):
        return [_cleaned(one) for one in cast("list[object]", shape)]
    if not isinstance(shape, dict):
        return shape
    given = cast("Json", shape)
    kept = {key: _cleaned(value) for key, value in given.items() if key != "default"}
    if "properties" in given:  # their keys are names of fields, not keywords of JSON Schema
        kept["properties"] = {name: _cleaned(one) for name, one in given["properties"].items()}
    if given.get("type") == "object" and "properties" not in given:
        kept.setdefault("additionalProperties", True)
    if "$ref" in given:
        kept.pop("type", None)
    words = given.get("enum")
    if "type" not in given and words and all(isinstance(word, str) for word in words):
        kept["type"] = "string"
    return kept
