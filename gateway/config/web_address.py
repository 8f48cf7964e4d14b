"""Whether a setting is an address of HTTP: of a server, or of a proxy."""

import re
from urllib.parse import urlsplit

_URL = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
_PROXY = re.compile(r"http://(?:[^/?#@\s]+@)?(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]+/?")


def checked_url(value: str) -> str:
    """A URL without its last slashes; raises ValueError."""
    if not _URL.fullmatch(value):
        raise ValueError("must be an http or https URL without user, query or fragment")
    return value.rstrip("/")


def is_proxy(url: str) -> bool:
    """Whether a URL names a proxy, maybe with a user."""
    try:
        return _PROXY.fullmatch(url) is not None and bool(urlsplit(url).port)
    except ValueError:
        return False
