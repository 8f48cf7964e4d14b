"""The head of an answer, read by itself, so that what follows cannot take it away again."""

import re
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader
from typing_extensions import override

from gateway.adapters.stopwatch import Stopwatch, running

MAX_LINE = 64 * 1024
_MAX_KIB = 128
_MAX_INTERIM = 100
# A line that is not empty, and one that is; servers that leave out the carriage returns are read.
_HEAD_END = re.compile(rb"[^\r\n]\r?\n\r?\n")
_USUAL_END = b"\r\n\r\n"  # nearly always, and found twenty times as fast
_UNUSUAL_END = re.compile(rb"\n\r?\n")
_CUT_END = 4  # as much of it as can come before a cut
_SWITCHING = 101


class UnreadableError(aiohttp.ClientError):
    """No answer can be made out; the text says why, for the people who run the receiver."""


class HeadFirst(ResponseHandler):
    """Hands the parser the head of an answer alone, and passes over the interim ones before it."""

    _awaiting = False
    _interim = 0
    _size = 0
    _seen = b""
    _stopwatch: Stopwatch | None = None

    @override
    def set_response_params(self, **options: Any) -> None:
        self._awaiting = True
        self._interim = self._size = 0
        self._seen = b""
        self._stopwatch = running.get()
        super().set_response_params(**options)

    @override
    def data_received(self, data: bytes) -> None:
        if self._parser is None:  # the request is not there yet; this is kept until it is
            super().data_received(data)
            return
        if data and self._stopwatch is not None:
            self._stopwatch.heard = True
        while self._awaiting and data and self._exception is None:
            end = self._end_of_head(data)
            self._size += end
            if self._size > _MAX_KIB * 1024:
                self._refuse(f"The answer's head is longer than {_MAX_KIB} KiB.")
                return
            super().data_received(data[:end])
            data = data[end:]
            if not data:
                return
        if self._exception is None:
            super().data_received(data)

    @override
    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        code = data[0].code
        if 100 <= code < 200 and code != _SWITCHING:  # noqa: PLR2004 - the class of a status
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                self._refuse(f"Before an answer came more than {_MAX_INTERIM} interim ones.")
            return
        self._awaiting = False
        super().feed_data(data, size)

    @override
    def set_exception(self, exc: BaseException, exc_cause: BaseException | None = None) -> None:
        super().set_exception(exc, *([] if exc_cause is None else [exc_cause]))
        # A body that turned into junk would else be waited for until the deadline.
        if self._payload is not None and not self._payload.is_eof():
            self._payload.set_exception(aiohttp.ClientPayloadError())

    def _end_of_head(self, data: bytes) -> int:
        """Where in these bytes the head ends, or else where they do."""
        end = data.find(_USUAL_END)
        is_usual = end > 0 and data[end - 1] not in b"\r\n" and not self._seen
        if is_usual and not _UNUSUAL_END.search(data, 0, end + 2):
            return end + len(_USUAL_END)
        seen = self._seen + data
        found = _HEAD_END.search(seen)
        if found is None:
            self._seen = seen[-_CUT_END:]
            return len(data)
        end = found.end() - len(self._seen)
        self._seen = b""
        return end

    def _refuse(self, why: str) -> None:
        if self.transport is not None:
            self.transport.close()
        self.set_exception(UnreadableError(why))
