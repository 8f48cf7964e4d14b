"""Checks the input URLs of a job against our own file store."""

from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from gateway.simulator.files.signed_urls import Signer
from gateway.simulator.files.storage import Storage


def http_urls(params: bytes) -> list[str]:
    """Return the top-level string values of `params` that are http(s) URLs."""
    decoded = msgspec.json.decode(params, type=dict[str, Any])
    return [
        value
        for value in decoded.values()
        if isinstance(value, str) and value.startswith(("http://", "https://"))
    ]


def own_urls(params: bytes, base: str) -> list[str]:
    return [url for url in http_urls(params) if url.startswith(f"{base}/")]


def is_missing(url: str, storage: Storage, signer: Signer, now: float) -> bool:
    """Return whether one of our upload URLs is unsigned, expired or was never uploaded to."""
    parts = urlsplit(url)
    name = unquote(parts.path.lstrip("/"))
    if not name.startswith("moises/"):
        return False
    query = parse_qs(parts.query)
    expires, signature = query.get("X-Expires", ["0"])[0], query.get("X-Signature", [""])[0]
    if not expires.isdecimal() or not signer.accepts("GET", name, int(expires), signature):
        return True
    return int(expires) <= now or storage.get(name) is None
