"""Print results to standard output, and messages for people to standard error.

Control characters are escaped here, so that a tenant's text cannot control the terminal.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import click
from rich.cells import cell_len

from gateway.cli.terminal.exact_json import dumps
from gateway.cli.terminal.table import EMPTY, Column, aligned, width_of_output
from gateway.core.text.printable import printable, printable_cells, printable_json

_WORD_END = re.compile(r"(?<=[a-z])(?=[A-Z])")

Row = Mapping[str, Any]
Columns = Sequence[Column | str]

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; errors are JSON too."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def confirm(question: str, *, yes: bool) -> None:
    """Ask for confirmation unless `yes`; without a terminal `yes` is required."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Use --yes: there is no terminal to ask for confirmation.")
    click.confirm(printable(question), abort=True, err=True)


def say(text: str) -> None:
    """Print a line for people, not part of the result, to standard error."""
    click.echo(printable(text), err=True)


def print_line(text: str) -> None:
    """Print a line of the result."""
    click.echo(printable(text))


def print_coloured(text: str) -> None:
    """Print a line with colour codes, whose other parts are printable already."""
    click.echo(text)


def print_heading(title: str) -> None:
    """Print a heading after an empty line."""
    click.echo(f"\n{printable(title)}")


def print_json(value: object, indent: int | None = None) -> None:
    """Print a value as JSON, without an indent on one line."""
    click.echo(json_text(value, indent))


def show(
    value: Row | Sequence[Row], *, as_json: bool, columns: Columns = (), empty: str = ""
) -> None:
    """Print a result: an object as one line per field, a list as one line per item.

    Columns are the fields to show. Without columns, all fields of an object are shown, nested ones by
    their path. `empty` is said of a list without items.
    """
    if as_json:
        print_json(value, indent=2)
    elif isinstance(value, Mapping):
        names = [column.path for column in _columns(columns)]
        print_fields([(name, pick(value, name)) for name in names] or list(leaves(value)))
    else:
        print_table(value, columns, empty=empty)


def json_text(value: object, indent: int | None = None) -> str:
    """Return a value as JSON in characters that standard output can encode; one line without an indent."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    is_unicode = encoding.lower().replace("-", "").startswith("utf")
    return printable_json(dumps(value, indent, ensure_ascii=not is_unicode))


def write_text(text: str) -> None:
    """Write text to standard output unchanged; on a terminal with control characters escaped."""
    click.echo(printable_cells(text) if sys.stdout.isatty() else text, nl=False)


def print_json_text(text: str) -> None:
    """Print JSON text in one line."""
    click.echo(printable_json(text))


def print_table(rows: Sequence[Row], columns: Columns, *, empty: str = "") -> None:
    """Print one line per row below a line of headings; without rows also say `empty`."""
    wanted = _columns(columns)
    headings = [column.title or _heading(column.path) for column in wanted]
    lines = [[shown(pick(row, column.path)) for column in wanted] for row in rows]
    for line in aligned([headings, *lines], wanted, width_of_output()):
        click.echo(line)
    if empty and not rows:
        say(empty)


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print one line per field, with its name and its whole value."""
    named = [(printable(name), value) for name, value in fields]
    width = max((cell_len(name) for name, _ in named), default=0)
    for name, value in named:
        click.echo(f"{name}{' ' * (width - cell_len(name))}  {shown(value)}".rstrip())


def pick(row: Row, path: str) -> object:
    """Return the value at a path, None if there is none."""
    name, _, rest = path.partition(".")
    value = row.get(name)
    return pick(cast("Row", value), rest) if rest and isinstance(value, Mapping) else value


def leaves(value: Row, within: str = "") -> Iterator[tuple[str, object]]:
    """Yield the fields of an object, nested ones by their path."""
    for name, one in value.items():
        if isinstance(one, Mapping) and one:
            yield from leaves(cast("Row", one), f"{within}{name}.")
        else:
            yield f"{within}{name}", one


def shown(value: object) -> str:
    """Return a value as the text of a cell."""
    if value is None:
        return EMPTY
    if isinstance(value, str):
        return printable(value)
    items = cast("list[object]", value) if isinstance(value, list) else []
    if items and all(isinstance(item, str) for item in items):
        return ", ".join(map(shown, items))
    return json_text(cast("object", value))


def _columns(columns: Columns) -> list[Column]:
    return [Column(one) if isinstance(one, str) else one for one in columns]


def _heading(path: str) -> str:
    return _WORD_END.sub("_", path.rpartition(".")[2]).upper()
