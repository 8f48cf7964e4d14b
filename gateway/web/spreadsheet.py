"""CSV that a spreadsheet shows and does not run."""

import csv
import io
from collections.abc import Iterable

from gateway.core.spreadsheet import FORMULA, HARMLESS


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows as RFC 4180 has them; None is an empty cell.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    text = io.StringIO()
    csv.writer(text).writerows([_harmless(cell) for cell in row] for row in rows)
    return text.getvalue()


def _harmless(cell: object) -> object:
    return f"{HARMLESS}{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
