"""Read keys, secrets, JSON and headers from files in UTF-8, or in UTF-16 and UTF-32 with a mark."""

import codecs
from pathlib import Path

import click

from gateway.cli.terminal.failures import CommandError, ExitCode

# The type of an option; `-` is standard input.
TEXT_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

_BY_MARK = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(file: Path) -> str:
    """Read a file, or standard input for `-`, as UTF-8 or as its byte order mark says.

    Raises CommandError if it cannot be read or is not text.
    """
    try:
        with click.open_file(str(file), "rb") as opened:
            return decoded(opened.read())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}", ExitCode.USAGE) from None
    except UnicodeDecodeError:
        name = "standard input" if str(file) == "-" else str(file)
        raise CommandError(f"{name} is not text in UTF-8", ExitCode.USAGE) from None


def read_secret(file: Path) -> str:
    """Read the single line of a file, or of standard input for `-`."""
    return read_text(file).strip()


def decoded(content: bytes) -> str:
    """Decode bytes and drop their byte order mark; raises UnicodeDecodeError."""
    for mark, encoding in _BY_MARK:
        if content.startswith(mark):
            return content.decode(encoding)
    return content.decode()
