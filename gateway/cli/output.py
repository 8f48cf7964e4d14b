"""What a command prints: its result on standard output, everything else on standard error.

Texts of others pass through here, so that none of them drives the terminal.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, cast

import click

from gateway.core.printable import printable, printable_json

_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])")

Row = Mapping[str, Any]

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if that was said or is answered; without a terminal it has to be said."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Say --yes: there is no terminal to ask at.")
    click.confirm(printable(question), abort=True, err=True)


def say(text: str) -> None:
    """Tell a person something, in one line, that is not the result."""
    click.echo(printable(text), err=True)


def tell(text: str) -> None:
    """Print a result of one line."""
    click.echo(printable(text))


def show(value: Row | Sequence[Row], *, as_json: bool, columns: Sequence[str] = ()) -> None:
    """Print a result: an object as a line for each field, a list as a line for each item.

    Columns are the fields to show, with dots between nested ones; without any, all of an object.
    """
    if as_json:
        click.echo(_json(value, indent=2))
    elif isinstance(value, Mapping):
        names = columns or list(value)
        _print_aligned([(printable(name), _text(_pick(value, name))) for name in names])
    else:
        lines = [[_text(_pick(row, name)) for name in columns] for row in value]
        _print_aligned([[_heading(name) for name in columns], *lines])


def _heading(path: str) -> str:
    return _WORD_END.sub("_", path.rpartition(".")[2]).upper()


def _pick(row: Row, path: str) -> object:
    name, _, rest = path.partition(".")
    value = row.get(name)
    return _pick(cast("Row", value), rest) if rest and isinstance(value, Mapping) else value


def _text(value: object) -> str:
    if value is None:
        return "-"
    return printable(value) if isinstance(value, str) else _json(value)


def _json(value: object, indent: int | None = None) -> str:
    return printable_json(json.dumps(value, indent=indent, ensure_ascii=False))


def _print_aligned(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
