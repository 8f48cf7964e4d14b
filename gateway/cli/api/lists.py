"""Lists with keyset paging, printed as a table, JSON, NDJSON, or CSV."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import click

from gateway.cli.api.client import Api, ApiPage
from gateway.cli.terminal.output import (
    Columns,
    json_text,
    pick,
    print_json,
    print_table,
    say,
    show,
    write_text,
)
from gateway.web.respond.csv import csv_head, csv_lines

_LARGEST_PAGE = 1000
_DEFAULT_LIMIT = 100

Form = Literal["table", "json", "ndjson", "csv"]


class ListOptions(NamedTuple):
    """How many items to print, from which cursor, and in which form; a limit of None means all.

    With a cursor, even an empty one, JSON output has the cursor of the next page.
    """

    limit: int | None = _DEFAULT_LIMIT
    cursor: str | None = None
    form: Form = "table"


class Source(NamedTuple):
    """A list of the API, what its rows are called, its filters, and the parameter for the cursor."""

    path: str
    noun: str
    filters: Mapping[str, Any] = {}
    cursor: str = "cursor"

    @property
    def empty(self) -> str:
        """The sentence for a list without rows."""
        return f"There are no {self.noun}{' that match' if any(self.filters.values()) else ''}."


def listing_options(
    command: Callable[..., None], *, default: int | None = _DEFAULT_LIMIT
) -> Callable[..., None]:
    """Give a command the options for lists, and their values as its argument `wanted`.

    The default limit applies to tables and JSON; None means all.
    """
    usual = "all" if default is None else f"{default}, or all with --csv and --ndjson"

    @click.option(
        "--limit",
        type=click.IntRange(min=1),
        help=f"Most items to print. Default: {usual}.",
    )
    @click.option("--all", "is_all", is_flag=True, help="Print all items.")
    @click.option(
        "--cursor",
        help="Start there. With --json the result has the next cursor; '' starts at the beginning.",
    )
    @click.option("--json", "form", flag_value="json", help="Print JSON; errors are JSON too.")
    @click.option("--ndjson", "form", flag_value="ndjson", help="Print one JSON object per line.")
    @click.option("--csv", "form", flag_value="csv", help="Print CSV.")
    @functools.wraps(command)
    def wrapper(
        *arguments: object,
        limit: int | None,
        is_all: bool,
        cursor: str | None,
        form: Form | None,
        **kwargs: object,
    ) -> None:
        if is_all and limit is not None:
            raise click.UsageError("Use --limit or --all, not both.")
        unlimited = is_all or (limit is None and form in ("csv", "ndjson") and cursor is None)
        most = None if unlimited else limit or default
        command(*arguments, wanted=ListOptions(most, cursor, form or "table"), **kwargs)

    return wrapper


def show_listing(
    api: Api,
    source: Source,
    wanted: ListOptions,
    columns: Columns,
    to_row: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Print as much of a list as is wanted; NDJSON page by page, as the pages arrive.

    `to_row` makes the row of a table from an item of the list.
    """
    if wanted.form == "ndjson":
        cursor = _print_lines(_pages(api, source, wanted))
    else:
        pages = list(_pages(api, source, wanted))
        rows, cursor = [row for page in pages for row in page.rows], pages[-1].cursor
        if wanted.form == "table":
            print_table([to_row(row) for row in rows], columns, empty=source.empty)
        else:
            _print(rows, cursor, wanted, columns)
    if cursor is not None and (wanted.cursor is None or wanted.form != "json"):
        say(f"There are more: --all prints them, or continue with --cursor {cursor}")


def print_csv(rows: list[dict[str, Any]], paths: list[str]) -> None:
    """Print rows as CSV, with the paths of their fields as the header."""
    cells = ([_cell(pick(row, path)) for path in paths] for row in rows)
    write_text(csv_head(paths) + csv_lines(cells))


def _pages(api: Api, source: Source, wanted: ListOptions) -> Iterator[ApiPage]:
    left, cursor = wanted.limit, wanted.cursor or ""
    while True:
        size = _LARGEST_PAGE if left is None else min(left, _LARGEST_PAGE)
        start = {source.cursor: cursor} if cursor else {}
        page = api.page(source.path, {**source.filters, "size": size, **start})
        yield page
        if left is not None:
            left -= len(page.rows)
        if page.cursor is None or left == 0:
            return
        cursor = page.cursor


def _print_lines(pages: Iterator[ApiPage]) -> str | None:
    cursor = None
    for page in pages:
        cursor = page.cursor
        for row in page.rows:
            print_json(row)
    return cursor


def _print(
    rows: list[dict[str, Any]], cursor: str | None, wanted: ListOptions, columns: Columns
) -> None:
    if wanted.form == "csv":
        print_csv(rows, _paths(columns, rows))
    else:
        items = rows if wanted.cursor is None else {"items": rows, "cursor": cursor}
        show(items, as_json=True)


def _paths(columns: Columns, rows: list[dict[str, Any]]) -> list[str]:
    """Return the columns, then all other fields of the rows."""
    shown = [column if isinstance(column, str) else column.path for column in columns]
    tops = {path.partition(".")[0] for path in shown}
    others = dict.fromkeys(name for row in rows for name in row if name not in tops)
    return [*shown, *others]


def _cell(value: object) -> object:
    is_plain = value is None or isinstance(value, str | int | float)
    return value if is_plain and not isinstance(value, bool) else json_text(value)
