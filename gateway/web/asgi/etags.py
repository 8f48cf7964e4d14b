"""Conditional requests: entity tags by RFC 9110, compared weakly (13.1.2)."""

import re
from collections.abc import Mapping

from gateway.errors import PreconditionFailed

# Suffixes that proxies append to a tag when they compress the response.
_COMPRESSED = re.compile(r'[-;:+]{1,2}(?:x-)?(?:gzip|gz|br|zstd|deflate|df|bzip2)(?="?$)')


def etag_of(version: int) -> str:
    """A version as an entity tag."""
    return f'"{version}"'


def names_tag(known: str, tag: str) -> bool:
    """Whether an If-None-Match names a tag. It may be weak, in a list, without quotes, or `*`.

    A tag that a compressing proxy has changed, such as `"3-gzip"`, names the original `"3"`.
    """
    if known.strip() == "*":
        return True
    bare = tag.removeprefix("W/")
    tags = {_COMPRESSED.sub("", one.strip().removeprefix("W/")) for one in known.split(",")}
    return not tags.isdisjoint({bare, bare.strip('"')})


def require_unconditional(method: str, headers: Mapping[bytes, bytes]) -> None:
    """Raise PreconditionFailed for a conditional change, which no route supports."""
    wanted = headers.get(b"if-match", b"*").strip()
    if wanted != b"*" or (method == "PUT" and b"if-none-match" in headers):
        raise PreconditionFailed(
            "Changes cannot depend on a version here, so nothing was changed. "
            "Send the request without If-Match and If-None-Match."
        )
