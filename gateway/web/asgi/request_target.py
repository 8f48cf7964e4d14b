"""Which resource a request is for: its path and its host."""

import re
from collections.abc import Mapping

from gateway.errors import BadRequest, NotFound
from gateway.web.asgi.types import Scope

# A proxy may route these spellings differently than we do: an empty segment, and a letter, digit,
# mark or separator that is percent-encoded without need. A proxy that blocks /admin must block all.
_DISGUISED = re.compile(rb"//|%(?:2[D-Fd-f]|3[0-9Bb]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[CFcf]|7[Ee])")
_HOST = re.compile(rb"[0-9A-Za-z._~!$&'()*+,;=%:\[\]-]+")


def require_path(scope: Scope) -> None:
    """Raise NotFound for a path in a disguised spelling, and for one with a NUL."""
    raw: bytes = scope.get("raw_path", b"")
    if "\0" in scope["path"]:
        raise NotFound("There is nothing at this path.")
    if (b"//" in raw or b"%" in raw) and _DISGUISED.search(raw):
        raise NotFound(
            "There is nothing at this path. It has an empty segment, or a percent-encoded character "
            "that needs no encoding."
        )


def require_host(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    """Raise BadRequest for an HTTP/1.1 request without a header Host or with a malformed one."""
    if scope.get("http_version") == "1.1" and not _HOST.fullmatch(headers.get(b"host", b"")):
        raise BadRequest.of("Host", "HTTP/1.1 needs this header once, with the name of the host")
