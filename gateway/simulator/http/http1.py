"""A minimal, cheap HTTP/1.1 reader and writer."""

from http import HTTPStatus

from gateway.simulator.http.messages import JSON, Request, Response

MOST_HEAD = 64 * 1024
MOST_BODY = 256 * 1024 * 1024
LAST_CHUNK = b"0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
REASONS = {status.value: status.phrase for status in HTTPStatus}


class MalformedError(Exception):
    """The request is not valid HTTP for this server; carries the status to answer."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Reader:
    """Collects bytes until a request is complete; bodies have a length or are chunked."""

    __slots__ = ("_in_chunks", "_parts", "_size", "_wanted", "expects_continue")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self._wanted = 0
        self._in_chunks = False
        self.expects_continue = False

    def feed(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def next(self) -> Request | None:
        """Return the next complete request, or None if more bytes are needed; raises MalformedError."""
        if not self._size or self._size < self._wanted or self._is_amid_chunks():
            return None
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > MOST_HEAD:
                raise MalformedError(431)
            return self._wait(data, len(data) + 1)
        request = _read_head(data[:end])
        start = end + 4
        if "transfer-encoding" in request.headers:
            return self._chunked(request, data, start)
        return self._sized(request, data, start)

    def _is_amid_chunks(self) -> bool:
        """Return whether a chunked body is incomplete, which avoids joining its parts each time."""
        last = self._parts[-1]
        return self._in_chunks and len(last) >= len(LAST_CHUNK) and not last.endswith(LAST_CHUNK)

    def _sized(self, request: Request, data: bytes, start: int) -> Request | None:
        length = request.headers.get("content-length", "0")
        if not length.isdecimal():
            raise MalformedError(400)
        stop = start + int(length)
        if stop - start > MOST_BODY:
            raise MalformedError(413)
        if stop > len(data):
            self.expects_continue = "expect" in request.headers
            return self._wait(data, stop)
        request.body = data[start:stop]
        self._rest(data[stop:])
        return request

    def _chunked(self, request: Request, data: bytes, start: int) -> Request | None:
        """Read a chunked body once its last chunk seems to be there; trailers are not supported."""
        pieces: list[bytes] = []
        place = start
        while data.endswith(LAST_CHUNK):
            line_end = data.find(b"\r\n", place)
            size = _chunk_size(data[place:line_end]) if line_end >= 0 else -1
            place = line_end + 2
            if size < 0 or place + size > len(data):
                break
            if size == 0:
                request.body = b"".join(pieces)
                self._rest(data[place + 2 :])
                return request
            pieces.append(data[place : place + size])
            place += size + 2
        if len(data) > MOST_BODY:
            raise MalformedError(413)
        self._in_chunks = True
        self.expects_continue = "expect" in request.headers and len(data) == start
        return self._wait(data, len(data) + 1)

    def _wait(self, data: bytes, wanted: int) -> None:
        self._parts = [data]
        self._wanted = wanted

    def _rest(self, data: bytes) -> None:
        self._parts = [data] if data else []
        self._size = len(data)
        self._wanted = 0
        self._in_chunks = False
        self.expects_continue = False


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise MalformedError(400) from None


def _read_head(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    target, _, version = rest.partition(" ")
    if not version.startswith("HTTP/1."):
        raise MalformedError(400)
    path, _, query = target.partition("?")
    headers: dict[str, str] = {"connection": "close"} if version == "HTTP/1.0" else {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise MalformedError(400)
        headers[name.lower()] = value.strip()
    return Request(method, path, query, headers, b"")


def head(response: Response, length: int) -> bytes:
    """Return status line and headers; the connection stays open unless the caller closes it."""
    status = response.status
    if status == 200 and response.content_type is JSON and not response.headers:  # noqa: PLR2004
        return (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % length
        )
    lines = [
        f"HTTP/1.1 {status} {REASONS.get(status, '')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {length}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
