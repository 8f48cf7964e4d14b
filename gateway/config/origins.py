"""Origins whose pages may show a portal in a frame, as Content-Security-Policy names them."""

import re
from ipaddress import ip_address

_LONGEST = 300
_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:\*\.)?(?P<host>[a-z0-9.-]+|\[[0-9a-f:]+\])(?::[1-9][0-9]{0,4})?"
)


def why_no_frame_ancestor(origin: str) -> str | None:
    """Why pages of this origin may not show a portal in a frame; None where they may."""
    found = _ORIGIN.fullmatch(origin)
    if found is None or len(origin) > _LONGEST:
        return (
            "must be an origin such as https://app.example.com or https://*.example.com, in lower"
            " case, without a path"
        )
    if found["scheme"] == "http" and not is_loopback(found["host"].strip("[]")):
        return "must begin with https://, or with http:// for a loopback address"
    return None


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
