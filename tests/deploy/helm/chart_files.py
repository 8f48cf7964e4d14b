"""Writes what is generated in the Helm chart: `make chart`.

The README has a table of all values, made from values.yaml and its comments. The schema of the values
has the settings of the gateway, so that Helm refuses a misspelt one.
"""

import json
from collections.abc import Iterator
from functools import reduce
from itertools import takewhile
from operator import getitem
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gateway.settings import PREFIX, SECRETS, Settings

CHART = Path(__file__).parents[3] / "deploy/helm/job-gateway"
VALUES = CHART / "values.yaml"
README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
HEADING = "\n## Values\n"
# The chart sets these itself: its probes, its Services and its monitors depend on them.
OWNED = frozenset(
    {
        *("HOST", "PORT", "SHARE_PORT", "WORKER_PORT", "METRICS_PORT", "METRICS_HOST"),
        *("CONSOLE_PORT", "CONSOLE_HOST"),
    }
)
_BOUNDS = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "description")


class Value(NamedTuple):
    """One value of the chart, or a group of them, with the comment above it."""

    name: str
    comment: str
    default: Any
    is_group: bool


def values() -> Iterator[Value]:
    """Read values.yaml with its comments, from top to bottom."""
    text = VALUES.read_text()
    tree = yaml.safe_load(text)
    lines = text.splitlines()
    path: list[str] = []
    comment: list[str] = []
    free_below: int | None = None  # the depth of a map that Kubernetes reads as it is
    for number, line in enumerate(lines):
        depth = _depth(line)
        if not line.strip():
            comment = []
        elif line.lstrip().startswith("#"):
            comment.append(line.strip("# "))
        elif free_below is None or depth <= free_below:
            path[depth:] = [line.strip().partition(":")[0]]
            below = _below(lines[number + 1 :], depth)
            is_group = any(one.lstrip().startswith("#") for one in below)
            free_below = depth if below and not is_group else None
            yield Value(".".join(path), " ".join(comment), reduce(getitem, path, tree), is_group)
            comment = []


def _depth(line: str) -> int:
    return (len(line) - len(line.lstrip())) // 2


def _below(rest: list[str], depth: int) -> list[str]:
    """Return the lines that are part of the value at this depth."""
    return list(takewhile(lambda line: line.strip() and _depth(line) > depth, rest))


def table() -> str:
    """Return the table of all values, for the README."""
    rows = ["| value | default | what it is |", "|---|---|---|"]
    for value in values():
        if value.is_group and not value.comment:
            continue
        default = "" if value.is_group else f"`{json.dumps(value.default)}`"
        name = f"**`{value.name}`**" if value.is_group else f"`{value.name}`"
        rows.append(f"| {name} | {default} | {value.comment} |".replace("||", r"\|\|"))
    return "\n".join(rows) + "\n"


def settings_schema() -> dict[str, Any]:
    """Return the schema of `config`: every setting that is no secret and not set by the chart."""
    fields = Settings.model_json_schema()["properties"]
    return {
        f"{PREFIX}{name.upper()}": _setting(field)
        for name, field in fields.items()
        if name.upper() not in {*SECRETS, *OWNED}
    }


def _setting(field: dict[str, Any]) -> dict[str, Any]:
    found = {key: field[key] for key in _BOUNDS if key in field}
    if found.get("type") == "array":  # as text, separated by commas; a single number is allowed
        found["type"] = ["string", "number"]
    if found.get("type") == "object":  # as text, too
        found["type"] = "string"
    return found


def readme() -> str:
    """Return the README with the present table."""
    return README.read_text().partition(HEADING)[0] + HEADING + "\n" + table()


def schema() -> dict[str, Any]:
    """Return the schema with the present settings."""
    whole = json.loads(SCHEMA.read_text())
    whole["properties"]["config"]["properties"] = settings_schema()
    return whole


if __name__ == "__main__":
    README.write_text(readme())
    SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n")
