"""Checks an answer against a JSON Schema, as far as the documents use JSON Schema."""

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}


def misfits(document: Any, shape: Any, value: Any, place: str = "$") -> list[str]:
    """The places where a value differs from its schema; an undescribed field is one too."""
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return misfits(document, document["components"]["schemas"][name], value, place)
    if options := shape.get("oneOf", shape.get("anyOf")):
        found = [misfits(document, option, value, place) for option in options]
        return [] if [] in found else min(found, key=len)
    if (misfit := _misfit(shape, value)) is not None:
        return [f"{place} {misfit}"]
    inner = [misfits(document, *part) for part in _parts(shape, value, place)]
    return [one for found in inner for one in found]


def _misfit(shape: Any, value: Any) -> str | None:
    if not _is_of(shape.get("type"), value):
        return f"is {type(value).__name__}, not {shape['type']}"
    allowed = [shape["const"]] if "const" in shape else shape.get("enum", [value])
    return None if value in allowed else f"is {value!r}, not one of {allowed}"


def _parts(shape: Any, value: Any, place: str) -> list[tuple[Any, Any, str]]:
    if "type" not in shape and "properties" not in shape:
        return []
    if isinstance(value, list):
        return [(shape["items"], one, f"{place}[{n}]") for n, one in enumerate(value)]
    return _members(shape, value, place) if isinstance(value, dict) else []


_NEVER: dict[str, Any] = {"oneOf": [{"enum": []}]}


def _members(shape: Any, value: dict[str, Any], place: str) -> list[tuple[Any, Any, str]]:
    known, rest = shape.get("properties", {}), shape.get("additionalProperties", _NEVER)
    rest = {} if rest is True else rest or _NEVER
    absent = set(shape.get("required", ())) - value.keys()
    pairs = [(known.get(name, rest), one, f"{place}.{name}") for name, one in value.items()]
    return [*pairs, *((_NEVER, "absent", f"{place}.{name}") for name in absent)]


def _is_of(kind: str | list[str] | None, value: Any) -> bool:
    kinds = [kind] if isinstance(kind, str) else kind or []
    if isinstance(value, bool):
        return "boolean" in kinds or not kinds
    return not kinds or any(isinstance(value, _TYPES[one]) for one in kinds)
