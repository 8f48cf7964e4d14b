"""Reads one HTTP response: its head, the start of its body, and where it ends.

The parser is llhttp, through httptools. It accepts bare line feeds and control characters in header
values, which real receivers send. It refuses what makes the length of a response ambiguous: two
lengths, a length beside chunks, a length that is no number or too large.
"""

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserUpgrade,
    HttpResponseParser,
)

from gateway.adapters.webhooks.timings import PhaseTimer, now

MAX_READ = 64 * 1024
MAX_KEPT = 16 * 1024
_MAX_LINE = 64 * 1024
_MAX_HEAD_KIB = 128
_MAX_HEADERS = 128
_MAX_INTERIM = 100
# The limit for chunk sizes, chunk extensions and trailers.
_MAX_FRAMING = 128 * 1024
_SWITCHING = 101
_LINE_ENDS = len(b": \r\n")


class UnreadableError(Exception):
    """The response cannot be parsed; the text says why, for the people who run the receiver."""


class WebhookResponse:
    """One response, as far as it has come; feed it until it `is_over`.

    The parser calls the methods that begin with `on_`. An `error` after the head leaves the head
    and the body so far as they are.
    """

    def __init__(self, timer: PhaseTimer) -> None:
        self.status: int | None = None  # of the final response, not of an interim one
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.error: Exception | None = None
        self.is_over = False
        self.is_reusable = False  # it ended in order, and the connection may be kept
        self._timer = timer
        self._interim = 0
        self._received = 0
        self._head_size = 0
        self._body_size = 0
        self._parser: HttpResponseParser | None = None

    def feed(self, data: bytes) -> None:
        """Parse the next bytes; an error ends the response and is kept in `error`."""
        self._timer.has_heard = True
        self._received += len(data)
        if self._parser is None:
            self._parser = self._new_parser()
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._break(_cause(error))
            return
        if self.status is None:
            if self._received > _MAX_HEAD_KIB * 1024:
                self._break(_head_is_too_long())
        elif self._received - self._head_size - self._body_size > _MAX_FRAMING:
            self.is_over = True

    def close(self) -> None:
        """Release the parser, which refers to this object."""
        self._parser = None

    def on_message_begin(self) -> None:
        """Start a head; a head after the final response makes the connection unusable."""
        if self.status is None:
            self.headers = []
        else:
            self.is_reusable = False

    def on_status(self, text: bytes) -> None:
        """Count the bytes of the status line."""
        if self.status is None:
            self._count(len(text))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are ignored."""
        if self.status is not None:
            return
        is_too_long = len(name) > _MAX_LINE or len(value) > _MAX_LINE
        if is_too_long or b"\0" in value or len(self.headers) == _MAX_HEADERS:
            raise _invalid()
        self._count(len(name) + len(value) + _LINE_ENDS)
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """End the head of the final response, or of an interim one."""
        if self.status is not None or self._parser is None:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != _SWITCHING:  # noqa: PLR2004 - the class of a status
            self._interim += 1
            if self._interim > _MAX_INTERIM:
                raise UnreadableError(
                    f"Before an answer came more than {_MAX_INTERIM} interim ones."
                )
            return
        if status < 100:  # noqa: PLR2004 - the parser takes any three digits
            raise UnreadableError(f"The answer has the status {status:03d}; HTTP begins at 100.")
        self.status = status
        self._timer.answered = now()

    def on_body(self, data: bytes) -> None:
        """Keep the first bytes of the body, and end the response after enough bytes."""
        if self.is_over:
            return
        self._body_size += len(data)
        self.body += data[: MAX_KEPT - len(self.body)]
        if self._body_size > MAX_READ:
            self.is_over = True

    def on_message_complete(self) -> None:
        """End the response, unless it was an interim one."""
        if self.is_over or self.status is None or self._parser is None:
            return
        self.is_over = True
        self.is_reusable = self.status != _SWITCHING and self._parser.should_keep_alive()

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > _MAX_HEAD_KIB * 1024:
            raise _head_is_too_long()

    def _break(self, error: Exception) -> None:
        self.is_reusable = False
        if not self.is_over:
            self.error = error
            self.is_over = True


def _cause(error: Exception) -> Exception:
    """Return the error of one of our callbacks, or that the bytes are not valid HTTP."""
    cause = error.__context__
    if isinstance(error, HttpParserCallbackError) and isinstance(cause, Exception):
        return cause
    return _invalid()


def _invalid() -> UnreadableError:
    return UnreadableError("The answer is not valid HTTP.")


def _head_is_too_long() -> UnreadableError:
    return UnreadableError(f"The answer's head is longer than {_MAX_HEAD_KIB} KiB.")
