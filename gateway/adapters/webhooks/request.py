"""The bytes of a webhook's request, with nothing in it that could be taken for more than one."""

import re
from functools import lru_cache
from typing import NamedTuple

from gateway.adapters.webhooks.connection import Origin
from gateway.core.webhooks.request import Webhook
from gateway.core.webhooks.ssrf_rules import CheckedUrl

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NAMES = 4096
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BRACKETS = str.maketrans({"[": "%5B", "]": "%5D"})
# They frame the request or bend the connection, so they are ours to set.
_OURS = frozenset(
    [
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)


class RequestTarget(NamedTuple):
    """Where a webhook goes: to whom to connect, and how its request begins."""

    target: CheckedUrl
    origin: Origin
    start: str

    @classmethod
    def of(cls, target: CheckedUrl) -> "RequestTarget":
        """The place of a URL that may be called."""
        scheme, _, authority, rest = target.url.split("/", 3)
        start = f"POST {_origin_form(rest)} HTTP/1.1\r\nHost: {authority}\r\n"
        return cls(target, Origin(target.host, target.port, scheme == "https:"), start)


def request_of(place: RequestTarget, webhook: Webhook) -> bytes | str:
    """The whole request, or a sentence on which header may not be sent."""
    lines = [place.start]
    accept = "Accept: */*\r\n"
    for name, value in webhook.headers:
        if not _may_be_set(name):
            return f"The header {name!r} may not be set."
        if not value.isascii() or not value.isprintable():
            return f"The header {name!r} has a character other than printable ASCII."
        if name == "accept":
            accept = ""
        lines.append(f"{name}: {value}\r\n")
    length = len(webhook.body)
    lines.append(f"{accept}accept-encoding: identity\r\nContent-Length: {length}\r\n\r\n")
    return "".join(lines).encode("ascii") + webhook.body


@lru_cache(_NAMES)
def _may_be_set(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and name.lower() not in _OURS


def _origin_form(rest: str) -> str:
    """Path and query of a URL, without dot segments and with every odd character encoded."""
    path, _, query = _STRAY_PERCENT.sub("%25", rest.translate(_BRACKETS)).partition("?")
    segments: list[str] = []
    *folders, last = path.split("/")
    for folder in folders:
        if folder == "..":
            del segments[-1:]
        elif folder != ".":
            segments.append(folder)
    if last == "..":
        del segments[-1:]
    segments.append("" if last in (".", "..") else last)
    path = "/" + "/".join(segments)
    return f"{path}?{query}" if query else path
