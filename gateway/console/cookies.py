"""The cookies of pages: the session of each face, an attempt to sign in elsewhere, the theme and the times that somebody chose."""

from datetime import timedelta
from http.cookies import CookieError, SimpleCookie

from gateway.web.asgi.request_context import RequestContext

# The prefix binds a cookie to this host: no other host can set it, and it never leaves TLS. Chrome and Firefox
# keep such cookies at http://localhost, too.
SESSION = "__Host-gateway-console"
ATTEMPT = "__Host-gateway-sign-in"
PORTAL_SESSION = "__Host-gateway-portal"
THEME = "__Host-gateway-theme"
PORTAL_THEME = "__Host-gateway-portal-theme"
TIMES = "__Host-gateway-times"
PORTAL_TIMES = "__Host-gateway-portal-times"
TIMES_SHOWN = ("utc", "local")
THEMES = ("auto", "light", "dark")
_COMMON = "Path=/; Secure; HttpOnly"
# A portal works in a frame of another site. A partitioned cookie is kept for that site alone.
_SAME_SITE = {
    SESSION: "SameSite=Lax",
    ATTEMPT: "SameSite=Lax",
    THEME: "SameSite=Lax",
    TIMES: "SameSite=Lax",
    PORTAL_SESSION: "SameSite=None; Partitioned",
    PORTAL_THEME: "SameSite=None; Partitioned",
    PORTAL_TIMES: "SameSite=None; Partitioned",
}
_YEAR = timedelta(days=365)


def cookie_of(request_context: RequestContext, name: str) -> str:
    """The value of a cookie; empty without one."""
    try:
        found = SimpleCookie(request_context.header(b"cookie")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def kept(name: str, value: str) -> str:
    """The header that stores a cookie until the browser ends; of a session, the gateway ends it earlier."""
    return f"{name}={value}; {_COMMON}; {_SAME_SITE[name]}"


def kept_for(name: str, value: str, lifetime: timedelta) -> str:
    """The header that stores a cookie for some time."""
    return f"{kept(name, value)}; Max-Age={int(lifetime.total_seconds())}"


def kept_for_good(name: str, value: str) -> str:
    """The header that stores a cookie for a year."""
    return kept_for(name, value, _YEAR)


def dropped(name: str) -> str:
    """The header that takes a cookie away."""
    return f"{kept(name, '')}; Max-Age=0"
