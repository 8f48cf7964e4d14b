"""View: one request of a person, with its session, and the pages that it is answered with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from litestar import Response

from gateway.console import assets
from gateway.console.cookies import (
    PORTAL_THEME,
    PORTAL_TIMES,
    THEME,
    THEMES,
    TIMES,
    TIMES_SHOWN,
    cookie_of,
)
from gateway.console.headers import FRAMES_ANY, FRAMES_NONE, page_headers
from gateway.console.navigation import PORTAL_SCREENS, SCREENS, NavigationEntry
from gateway.console.templating import rendered
from gateway.core.model import Scope
from gateway.core.portal.pages import PortalPage
from gateway.core.roles import portal_scopes, scopes_of
from gateway.errors import Forbidden
from gateway.flows.admin.sessions import Session
from gateway.flows.deps import Deps
from gateway.web.asgi.request_context import CONTEXT, STATE, RequestContext
from gateway.web.asgi.types import AnyRequest
from gateway.web.context import Context

HOME = "/console"
PORTAL = "/portal"
_HTML = "text/html"
_SEE_OTHER = 303
_IN_STATE = "console_view"


@dataclass(slots=True)
class View:
    """One request; `form` has the fields of a write, which a guard has checked."""

    context: Context
    request: RequestContext
    path: str
    session: Session | None = None
    form: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def deps(self) -> Deps:
        """The adapters and the policy."""
        return self.context.deps

    @property
    def signed_in(self) -> Session:
        """The session, which a guard has found."""
        if self.session is None:
            raise RuntimeError("a handler without a guard asked for its session")
        return self.session

    @property
    def home(self) -> str:
        """The start of all paths of this face: the console's or the portal's."""
        return PORTAL if self.is_portal else HOME

    @property
    def is_portal(self) -> bool:
        """Whether this is a page of a tenant's portal."""
        return self.path == PORTAL or self.path.startswith(f"{PORTAL}/")

    def at(self, path: str) -> str:
        """The address of a screen of this face."""
        return self.home + path

    def own_path(self, text: str) -> str:
        """A path of this face that somebody named; its start for anything else, as a link to another site."""
        is_ours = text == self.home or text.startswith((f"{self.home}/", f"{self.home}?"))
        is_plain = text.isascii() and text.isprintable() and "\\" not in text
        return text if is_ours and is_plain else self.home

    @property
    def url(self) -> str:
        """The path and query of this view."""
        query = self.request.query.decode("latin-1")
        return f"{self.path}?{query}" if query else self.path

    @property
    def is_fragment(self) -> bool:
        """Whether htmx asks, for a part of a page that stays."""
        return self.request.header(b"hx-request") == "true"

    @property
    def theme(self) -> str:
        """The theme that the person chose, or that the portal has."""
        chosen = cookie_of(self.request, PORTAL_THEME if self.is_portal else THEME)
        if chosen in THEMES:
            return chosen
        return (self.session.look.mode if self.session else None) or "auto"

    @property
    def times(self) -> str:
        """Whether scripts show times in UTC or by the browser's clock; pages without scripts have UTC."""
        chosen = cookie_of(self.request, PORTAL_TIMES if self.is_portal else TIMES)
        return chosen if chosen in TIMES_SHOWN else "utc"

    @property
    def screens(self) -> list[NavigationEntry]:
        """The navigation: the screens that the session may see."""
        if self.is_portal:
            return [screen for page, screen in PORTAL_SCREENS if self.shows(page)]
        return [screen for screen in SCREENS if self.may(screen.scope)]

    def shows(self, page: str) -> bool:
        """Whether a page is among those that the link into the portal named."""
        pages = self.session.pages if self.session else ()
        return not pages or PortalPage(page) in pages

    def may(self, scope: str) -> bool:
        """Whether the role of the session has a scope."""
        if self.session is None:
            return False
        scopes = portal_scopes if self.is_portal else scopes_of
        return Scope(scope) in scopes(self.session.role)

    def require(self, scope: Scope) -> None:
        """Raise Forbidden for a role that lacks a scope."""
        if not self.may(scope):
            raise Forbidden(f"The role {self.signed_in.role} may not do this; it needs {scope}.")

    def page(self, template: str, *, status: int = 200, **values: object) -> Response[bytes]:
        """A page, rendered from a template that gets this view as `view`."""
        found = assets.load()
        body = rendered(
            template,
            self.deps.clock.now(),
            {"view": self, "home": self.home, "assets": found, **values},
        )
        return Response(body, status_code=status, media_type=_HTML, headers=self._headers())

    def go(self, to: str, *, cookie: str = "") -> Response[bytes]:
        """Send the browser to another page of ours, by GET."""
        headers = {**self._headers(), **({"Set-Cookie": cookie} if cookie else {})}
        if self.is_fragment:
            return Response(b"", status_code=200, headers={**headers, "HX-Redirect": to})
        return Response(b"", status_code=_SEE_OTHER, headers={**headers, "Location": to})

    def _headers(self) -> dict[str, str]:
        if not self.is_portal:
            return dict(page_headers(FRAMES_NONE))
        if self.session is None:  # nothing can be done there but to begin
            return dict(page_headers(FRAMES_ANY))
        look = self.session.look
        origins = look.frame_ancestors or self.deps.portal.frame_ancestors
        return dict(page_headers(" ".join(origins) or FRAMES_NONE, origin_of(look.logo_url)))


def origin_of(url: str | None) -> str:
    """The origin of an address that was checked; empty for none."""
    if url is None:
        return ""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def view_of(request: AnyRequest) -> View:
    """The view of a request, made when it is first asked for."""
    state = request.scope["state"]
    if _IN_STATE not in state:
        state[_IN_STATE] = View(state[CONTEXT], state[STATE], request.scope["path"])
    return state[_IN_STATE]


async def provide_view(request: AnyRequest) -> View:
    """The view as a dependency of handlers."""
    return view_of(request)


def sign_in_path(view: View) -> str:
    """The page to sign in, which leads back to what was asked for."""
    wanted = view.url
    if view.is_fragment:  # the page around it is what to come back to
        current = view.request.header(b"hx-current-url")
        wanted = current[current.find(HOME) :] if HOME in current else HOME
    return f"{HOME}/sign-in?next={quote(view.own_path(wanted), safe='/')}"
