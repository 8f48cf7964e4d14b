"""CSV that a spreadsheet shows as it is meant, and does not run."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from gateway.core.text.csv_injection import FORMULA, HARMLESS
from gateway.core.text.printable import printable_cells

CSV: Final = "text/csv"
CSV_TYPE: Final = f"{CSV}; charset=utf-8; header=present"
# Without it Excel takes UTF-8 for the code page of its machine.
BOM: Final = "\ufeff"


def csv_head(columns: Iterable[str]) -> str:
    """How a table begins: its mark, and the names of its columns."""
    return f"{BOM}{','.join(columns)}\r\n"


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows as RFC 4180 has them, every text in quotes; None is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, and control
    characters but line breaks and tabs are shown as escapes.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return printable_cells(text.getvalue())


def file_named(name: str, at: datetime, ending: str) -> dict[str, str]:
    """The header that has a browser keep an answer as a file of that name and day."""
    return {"Content-Disposition": f'attachment; filename="{name}-{at:%Y-%m-%d}.{ending}"'}


def _harmless(cell: object) -> object:
    return f"{HARMLESS}{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
