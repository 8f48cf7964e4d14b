"""Generate docs/settings.md from the settings."""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.cli.api.client_settings import CLIENT_SETTINGS
from gateway.config.environment import PREFIX
from gateway.config.shown import written
from gateway.settings import Settings

_HEAD = """\
# Settings

Every setting is an environment variable. `gateway config validate` checks them all and names every fault; no process
starts with a faulty setting. `gateway config show` prints the settings in force. This page is the output of
`gateway config docs`.

| setting | kind | default | range | what it is |
|---|---|---|---|---|
"""
_CLIENT_HEAD = """
## For clients

The [commands](cli.md) that call the API read these; servers do not. If neither an address nor a key is given, they use the
`dev.json` of the `gateway dev` in this folder.

| variable | what it is |
|---|---|
"""
_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    SecretStr: "secret text",
    IPv4Network: "network",
    IPv6Network: "network",
}
_BOUNDS = (
    (Ge, "ge", "at least"),
    (Gt, "gt", "more than"),
    (Le, "le", "at most"),
    (Lt, "lt", "less than"),
)


def settings_page() -> str:
    """Return the reference of all settings as Markdown."""
    lines = (_line(name, field) for name, field in Settings.model_fields.items())
    own = (f"| `{name}` | {what} |\n" for name, what in CLIENT_SETTINGS.items())
    return _HEAD + "".join(lines) + _CLIENT_HEAD + "".join(own)


def _line(name: str, field: FieldInfo) -> str:
    what = (field.description or "").replace("|", "\\|")
    cells = (f"`{PREFIX}{name.upper()}`", _kind(field.annotation), _default(field), _range(field))
    return f"| {' | '.join(cells)} | {what} |\n"


def _kind(annotation: Any) -> str:  # noqa: ANN401 - any annotation of a field
    if annotation in _WORDS:
        return _WORDS[annotation]
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if get_origin(annotation) in (Union, UnionType):
        return _kind(arguments[0])
    if get_origin(annotation) is Mapping:
        return "JSON object"
    return f"list of {_kind(arguments[0])}s"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**must be set**"
    text = written(field.default)
    return f"`{text}`" if text else "none"


def _range(field: FieldInfo) -> str:
    return ", ".join(_bounds(field)) or "-"


def _bounds(field: FieldInfo) -> Iterator[str]:
    for bound in field.metadata:
        for kind, attribute, words in _BOUNDS:
            if isinstance(bound, kind):
                yield f"{words} {getattr(bound, attribute)}"
