"""Settings as they are shown to people: their values, where they come from, and secrets hidden."""

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from gateway.config.environment import PREFIX

_HIDDEN = "[hidden]"


class ShownSetting(NamedTuple):
    """One setting by the name of its variable; its origin is environment, file or default."""

    name: str
    value: str
    origin: str


def shown_settings(settings: BaseModel, environment: Collection[str]) -> list[ShownSetting]:
    """Every setting with its value and origin; `environment` has the names of variables that are not empty."""
    given = {name.upper() for name in environment}
    return [
        ShownSetting(name, _shown(getattr(settings, field)), _origin(name, given))
        for field in type(settings).model_fields
        for name in (PREFIX + field.upper(),)
    ]


def written(value: object) -> str:
    """Return the value of a setting as it is written in the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, frozenset):
        return written(tuple(sorted(cast("frozenset[Any]", value))))
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, tuple):
        return ",".join(written(item) for item in cast("tuple[object, ...]", value))
    return str(value)


def _origin(name: str, given: Collection[str]) -> str:
    if f"{name}_FILE" in given and name not in given:
        return "file"
    return "environment" if name in given else "default"


def _shown(value: object) -> str:
    return _address(value.get_secret_value()) if isinstance(value, SecretStr) else written(value)


def _address(secret: str) -> str:
    """Return a URL without user, password and query; hide any other secret."""
    if "://" not in secret:
        return _HIDDEN
    parts = urlsplit(secret)
    user, at, host = parts.netloc.rpartition("@")
    hidden = f"{_HIDDEN}@" if user or at else ""
    return f"{parts.scheme}://{hidden}{host}{parts.path}"
