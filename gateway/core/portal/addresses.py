"""Addresses that a page of the portal links to: why one is refused, in words.

They come from callers and end up in `href` and `src`, so only a plain address of a known scheme passes.
"""

import re
from urllib.parse import urlsplit

from gateway.config.origins import is_loopback

_LONGEST = 2048
# Visible ASCII without what browsers and parsers read in different ways, such as the backslash.
_PLAIN = re.compile(r"[!#-;=?-\[\]_a-z~]+")


def why_no_return_url(url: str) -> str | None:
    """Why a browser may not be sent back to this address; None where it may."""
    return _why_not(url, allows_loopback=True)


def why_no_logo_url(url: str) -> str | None:
    """Why a picture may not be loaded from this address; None where it may."""
    return _why_not(url, allows_loopback=False)


def _why_not(url: str, *, allows_loopback: bool) -> str | None:
    if len(url) > _LONGEST:
        return f"has {len(url)} characters; at most {_LONGEST} are allowed"
    if not _PLAIN.fullmatch(url):
        return "must be visible ASCII characters; percent-encode all others"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme == "http" and allows_loopback and is_loopback(host or ""):
        pass
    elif parts.scheme != "https":
        return "must begin with https://" + (
            ", or with http:// for a loopback address" if allows_loopback else ""
        )
    if not host or port == 0 or "@" in parts.netloc:
        return "must name a host, without a user"
    return None
