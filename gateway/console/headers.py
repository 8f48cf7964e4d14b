"""The headers of every page: a strict content security policy, and what else keeps a page to itself."""

from collections.abc import Mapping
from functools import lru_cache

FRAMES_NONE = "'none'"
FRAMES_ANY = "*"


@lru_cache(256)
def page_headers(frame_ancestors: str = FRAMES_NONE, images: str = "") -> Mapping[str, str]:
    """The headers of a page that the named origins may show in a frame; `images` is the origin of a logo."""
    policy = (
        "default-src 'self'",
        f"img-src 'self' data: {images}".rstrip(),
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        f"frame-ancestors {frame_ancestors}",
    )
    headers = {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        # Not `no-referrer`: browsers would then send `Origin: null` with forms.
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
        "Cache-Control": "no-store",
    }
    if frame_ancestors == FRAMES_NONE:
        headers["X-Frame-Options"] = "DENY"
    return headers
