"""Jobs as CSV, in the API's own form, however many there are."""

import codecs
from contextlib import suppress

from gateway.cli.api.client import Api
from gateway.cli.jobs.selection import JobSelection
from gateway.cli.terminal.output import write_text

_QUOTE = '"'


class _EnoughError(Exception):
    """All that is wanted has been printed."""


def print_jobs_as_csv(api: Api, selected: JobSelection, limit: int | None) -> None:
    """Print the jobs that are selected, or the first of them, as the API writes them."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    first = None if limit is None else _First(limit + 1)  # the line of headings too

    def take(piece: bytes) -> None:
        text = decoder.decode(piece)
        write_text(text if first is None else first.of(text))
        if first is not None and not first.left:
            raise _EnoughError

    with suppress(_EnoughError):
        api.download("/v1/job", take, {**selected.query(), "format": "csv"})


class _First:
    """The first records of a CSV text that comes in pieces; `left` are still to come."""

    def __init__(self, count: int) -> None:
        self.left = count
        self._is_quoted = False

    def of(self, text: str) -> str:
        """The part of the next piece that belongs to them."""
        for place, character in enumerate(text):
            self._is_quoted ^= character == _QUOTE
            if character == "\n" and not self._is_quoted:
                self.left -= 1
                if not self.left:
                    return text[: place + 1]
        return text
