"""The cookies of the console: the session, an attempt to sign in elsewhere, and the theme that somebody chose."""

from datetime import timedelta
from http.cookies import CookieError, SimpleCookie

from gateway.web.asgi.request_context import RequestContext

# The prefix binds a cookie to this host: no other host can set it, and it never leaves TLS. Chrome and Firefox
# keep such cookies at http://localhost, too.
SESSION = "__Host-gateway-console"
ATTEMPT = "__Host-gateway-sign-in"
THEME = "__Host-gateway-theme"
THEMES = ("auto", "light", "dark")
_COMMON = "Path=/; Secure; HttpOnly; SameSite=Lax"
_YEAR = 365 * 86_400


def cookie_of(request_context: RequestContext, name: str) -> str:
    """The value of a cookie; empty without one."""
    try:
        found = SimpleCookie(request_context.header(b"cookie")).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def session_cookie(token: str) -> str:
    """The header that stores a session, until the browser ends: the gateway ends it earlier."""
    return f"{SESSION}={token}; {_COMMON}"


def no_session_cookie() -> str:
    """The header that drops it."""
    return f"{SESSION}=; {_COMMON}; Max-Age=0"


def attempt_cookie(sealed: str, lifetime: timedelta) -> str:
    """The header that keeps an attempt to sign in elsewhere for its time."""
    return f"{ATTEMPT}={sealed}; {_COMMON}; Max-Age={int(lifetime.total_seconds())}"


def theme_cookie(theme: str) -> str:
    """The header that keeps a theme."""
    return f"{THEME}={theme}; {_COMMON}; Max-Age={_YEAR}"
