"""Escape control characters in callers' texts, so that they cannot drive a terminal or a log."""

import re

# Control characters (C0, DEL, C1), marks that turn the direction of writing, the separators of lines
# and paragraphs, and halves of surrogate pairs, which no encoding can write.
_UNSEEN = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_CONTROLS = re.compile(rf"[\x00-\x1f{_UNSEEN}]")
_BUT_LINES = re.compile(rf"[\x00-\x09\x0b-\x1f{_UNSEEN}]")
_BUT_SPACING = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f{_UNSEEN}]")
# The ASCII control characters that a cell must not have.
_CELL_BYTES = bytes({*range(0x20), 0x7F} - {*b"\t\n\r"})
_IN_JSON = re.compile(f"[{_UNSEEN}]")
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def printable(text: str) -> str:
    r"""One line: a line break is shown as `\n`, other control characters as `\x1b` or `\u202e`."""
    return text if text.isprintable() else _CONTROLS.sub(_escaped, text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return text if text.isprintable() else _BUT_LINES.sub(_escaped, text)


def printable_cells(text: str) -> str:
    """The same for a table, however long, whose cells may hold line breaks and tabs."""
    if text.isascii() and len(raw := text.encode()) == len(raw.translate(None, _CELL_BYTES)):
        return text
    return _BUT_SPACING.sub(_escaped, text)


def printable_json(text: str) -> str:
    r"""The same JSON value: control characters that JSON allows in a text are written as `\u009b`."""
    return text if text.isprintable() else _IN_JSON.sub(_in_json, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _SHORT.get(found[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")  # noqa: PLR2004 - the last of one byte


def _in_json(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
