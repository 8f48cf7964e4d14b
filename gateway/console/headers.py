"""The headers of every page: a strict content security policy, and what else keeps a page to itself."""

from collections.abc import Mapping
from functools import cache

FRAMES_NONE = "'none'"


@cache
def page_headers(frame_ancestors: str = FRAMES_NONE) -> Mapping[str, str]:
    """The headers of a page that the named origins may show in a frame."""
    policy = (
        "default-src 'self'",
        "img-src 'self' data:",
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
