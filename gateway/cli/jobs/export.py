"""Print jobs as CSV as the API writes it, streamed, so that any number fits in memory."""

import codecs
from contextlib import suppress

from gateway.cli.api.client import Api
from gateway.cli.jobs.selection import JobSelection
from gateway.cli.terminal.output import write_text

_QUOTE = '"'


class _EnoughError(Exception):
    """The limit is reached; ends the download."""


def print_jobs_as_csv(api: Api, selected: JobSelection, limit: int | None) -> None:
    """Print the selected jobs as CSV, at most `limit` of them."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    first = None if limit is None else _First(limit + 1)  # and the header

    def take(piece: bytes) -> None:
        text = decoder.decode(piece)
        write_text(text if first is None else first.of(text))
        if first is not None and not first.left:
            raise _EnoughError

    with suppress(_EnoughError):
        api.download("/v1/job", take, {**selected.query(), "format": "csv"})


class _First:
    """Cuts a CSV text that comes in pieces after `count` records; `left` are still to come."""

    def __init__(self, count: int) -> None:
        self.left = count
        self._is_quoted = False

    def of(self, text: str) -> str:
        """Return the part of the next piece that belongs to these records."""
        for place, character in enumerate(text):
            self._is_quoted ^= character == _QUOTE
            if character == "\n" and not self._is_quoted:
                self.left -= 1
                if not self.left:
                    return text[: place + 1]
        return text
