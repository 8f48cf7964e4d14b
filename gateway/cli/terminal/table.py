"""Tables that fit the terminal: less important columns are shortened or left out first."""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size

EMPTY = "-"

_GAP = 2
_EMPTY_RANK = 100


class Column(NamedTuple):
    """A field to show; dots separate nested names.

    If the table is too wide, columns with `least` are shortened to that many cells, then the column
    with the highest `rank` is left out. Rank 0 is never left out. A column that `folds` is wrapped
    instead of shortened.
    """

    path: str
    least: int | None = None
    rank: int = 0
    title: str = ""
    folds: bool = False


def width_of_output() -> int | None:
    """Return the width for lines: COLUMNS, or the terminal's; None if neither is known."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    if not sys.stdout.isatty():
        return None
    return shutil.get_terminal_size().columns


def aligned(
    rows: Sequence[Sequence[str]], columns: Sequence[Column], width: int | None
) -> list[str]:
    """Lay out rows, the headings first, in lines of at most this width."""
    by_column = list(zip(*rows, strict=True))
    natural = [max(map(cell_len, cells)) for cells in by_column]
    widths = dict(enumerate(natural))
    if width is not None:
        sized = zip(columns, natural, rows[0], strict=True)
        least = [_least(column, size, heading) for column, size, heading in sized]
        ranks = [_rank(*one) for one in zip(columns, by_column, strict=True)]
        widths = _fitted(natural, least, ranks, width)
    folds = [column.folds for column in columns]
    return [line for row in rows for line in _lines(row, widths, folds)]


def _rank(column: Column, cells: Sequence[str]) -> int:
    """Raise the rank of a column without values, so that it is left out first."""
    is_empty = all(cell == EMPTY for cell in cells[1:])
    return column.rank + _EMPTY_RANK if column.rank and is_empty else column.rank


def _least(column: Column, natural: int, heading: str) -> int:
    if column.least is None:
        return natural
    return min(natural, max(column.least, cell_len(heading)))


def _fitted(
    natural: Sequence[int], least: Sequence[int], ranks: Sequence[int], width: int
) -> dict[int, int]:
    """Return the width of each column that is shown, by its index."""
    kept = list(range(len(natural)))
    while sum(least[place] + _GAP for place in kept) - _GAP > width:
        last = max(kept, key=lambda place: ranks[place])
        if not ranks[last]:
            break
        kept.remove(last)
    widths = {place: natural[place] for place in kept}
    over = sum(size + _GAP for size in widths.values()) - _GAP - width
    while over > 0:
        spare = [place for place in kept if widths[place] > least[place]]
        if not spare:
            break
        widths[max(spare, key=lambda place: widths[place])] -= 1
        over -= 1
    return widths


def _lines(row: Sequence[str], widths: Mapping[int, int], folds: Sequence[bool]) -> list[str]:
    """Return the lines of a row; several if a cell is wrapped."""
    cells = [
        _folded(row[place], size) if folds[place] else [row[place]]
        for place, size in widths.items()
    ]
    lines = zip_longest(*cells, fillvalue="")
    return [_line(list(zip(parts, widths.values(), strict=True))) for parts in lines]


def _folded(text: str, size: int) -> list[str]:
    """Wrap a text to this many cells, between words if possible."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= size:
            lines[-1] = longer
        else:
            lines += chop_cells(word, size)
    return lines if lines[0] else lines[1:] or lines


def _line(cells: Sequence[tuple[str, int]]) -> str:
    return (" " * _GAP).join(_cell(text, size) for text, size in cells).rstrip()


def _cell(text: str, size: int) -> str:
    return set_cell_size(text if cell_len(text) <= size else _cut(text, size), size)


def _cut(text: str, size: int) -> str:
    return f"{set_cell_size(text, size - 1)}{_mark()}"


def _mark() -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return "…" if encoding.lower().replace("-", "").startswith("utf") else "~"
