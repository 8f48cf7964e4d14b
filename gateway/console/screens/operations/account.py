"""Account: who is signed in here, all sessions that are open, and how to end them."""

from typing import Annotated
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath
from msgspec import Meta

from gateway.console.cookies import SESSION, dropped
from gateway.console.links import ACCOUNT, with_changes
from gateway.console.view import View
from gateway.core.model import Scope
from gateway.core.text.cursor import encode_cursor
from gateway.flows.admin import sessions
from gateway.web.context import Injected
from gateway.web.respond.paging import read_cursor
from gateway.web.schemas.requests import In

_SIZE = 50
_TOLD = {"ended": "The session is ended.", "gone": "That session had ended already."}


class AccountView(In):
    """Which page of the sessions is shown."""

    cursor: Annotated[str, Meta(max_length=100)] = ""
    told: Annotated[str, Meta(max_length=20)] = ""


@get("/account", opt={"scope": Scope.ADMIN_READ})
async def show_account(parameters: Injected[AccountView], view: Injected[View]) -> Response[bytes]:
    """The own session, and all that are open, newest first."""
    before = read_cursor(parameters.cursor).last
    found = await sessions.list_sessions(view.deps, before=before, limit=_SIZE + 1)
    page = found[:_SIZE]
    return view.page(
        "operations/account.html",
        own=view.signed_in,
        sessions=page,
        first=with_changes(view) if parameters.cursor else "",
        older=with_changes(view, cursor=encode_cursor(page[-1].id)) if len(found) > _SIZE else "",
        told=_TOLD.get(parameters.told, ""),
    )


@post("/account/sessions/{session_id:uuid}/end", status_code=200, opt={"scope": None})
async def end_session(session_id: FromPath[UUID], view: Injected[View]) -> Response[bytes]:
    """End a session: the own one, or as an operator any other."""
    own = view.signed_in
    if session_id != own.id:
        view.require(Scope.ADMIN)
    is_ended = await sessions.end(view.deps, session_id, actor=own.actor)
    if session_id == own.id:
        return view.go(view.at("/sign-in"), cookie=dropped(SESSION))
    return view.go(view.at(f"{ACCOUNT}?told={'ended' if is_ended else 'gone'}"))


HANDLERS = [show_account, end_session]
