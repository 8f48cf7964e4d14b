"""CSV that spreadsheets show correctly, and in which they run no formulas (CSV injection)."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from gateway.core.text.csv_injection import FORMULA, HARMLESS
from gateway.core.text.printable import printable_cells

CSV: Final = "text/csv"
CSV_TYPE: Final = f"{CSV}; charset=utf-8; header=present"
# The byte order mark: without it Excel reads UTF-8 as the code page of its machine.
BOM: Final = "\ufeff"


def csv_head(columns: Iterable[str]) -> str:
    """The byte order mark and the header row."""
    return f"{BOM}{','.join(columns)}\r\n"


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows by RFC 4180, every text in quotes; None is an empty cell.

    A text that a spreadsheet would run as a formula gets an apostrophe in front. Control
    characters other than line breaks and tabs become escapes.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return printable_cells(text.getvalue())


def file_named(name: str, at: datetime, ending: str) -> dict[str, str]:
    """The header that makes browsers save the response as a file with the date in its name."""
    return {"Content-Disposition": f'attachment; filename="{name}-{at:%Y-%m-%d}.{ending}"'}


def _harmless(cell: object) -> object:
    return f"{HARMLESS}{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
