"""Saved views: filters that people keep by name, for themselves, for all of the staff, or for a tenant.

Nobody else's views can be changed. Each change is in the audit log.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows.admin import audit
from gateway.flows.claim.retry_deadlock import retry_on_deadlock
from gateway.flows.deps import Deps
from gateway.store.tenancy import saved_views
from gateway.store.tenancy.saved_views import SavedView, ViewOwner

__all__ = ["SavedView", "ViewOwner"]

MOST = 100
LONGEST_NAME = 60
_LONGEST_QUERY = 8_000


class KnownViews(NamedTuple):
    """The views that somebody sees: their own, and those that others share."""

    own: Sequence[SavedView]
    shared: Sequence[SavedView]


async def known_views(deps: Deps, owner: ViewOwner) -> KnownViews:
    """The views of an owner by name; staff also see what others share."""
    async with deps.db.single() as tx:
        own = await saved_views.page(tx, owner, MOST)
        is_staff = owner.tenant_id is None
        return KnownViews(own, await saved_views.shared(tx, owner, MOST) if is_staff else ())


@retry_on_deadlock
async def save_view(
    deps: Deps, actor: str, owner: ViewOwner, *, name: str, query: str, is_shared: bool
) -> SavedView:
    """Keep a filter under a name; one of that name is replaced. Raises BadRequest, Conflict."""
    name = _checked(name)
    if len(query) > _LONGEST_QUERY:
        raise BadRequest.of(
            "name", "names a filter that is too long to be kept; choose fewer values"
        )
    async with deps.db.begin() as tx:
        await saved_views.lock(tx, owner)
        stored = await saved_views.put(
            tx,
            deps.ids.uuid(),
            owner,
            name=name,
            query=query,
            is_shared=is_shared and owner.tenant_id is None,
            most=MOST,
        )
        if stored is None:
            raise Conflict(f"There are {MOST} views already. Delete one first.")
        detail = {"name": name, "query": query, "shared": stored.is_shared}
        await audit.note(
            tx, deps, actor, "view.saved", str(stored.id), tenant_id=owner.tenant_id, **detail
        )
    return stored


@retry_on_deadlock
async def change_view(
    deps: Deps, actor: str, owner: ViewOwner, view_id: UUID, *, name: str, is_shared: bool
) -> None:
    """Rename a view, and share it or not. Raises BadRequest, NotFound, Conflict."""
    name, is_shared = _checked(name), is_shared and owner.tenant_id is None
    async with deps.db.begin() as tx:
        await saved_views.lock(tx, owner)
        before = _known(await saved_views.find(tx, owner, view_id))
        taken = await saved_views.named(tx, owner, name)
        if taken is not None and taken.id != view_id:
            raise Conflict("Another view has this name. Choose another name.")
        await saved_views.change(tx, owner, view_id, name=name, is_shared=is_shared)
        changes = audit.changes(
            {"name": before.name, "shared": before.is_shared}, {"name": name, "shared": is_shared}
        )
        await audit.note(
            tx,
            deps,
            actor,
            "view.changed",
            str(view_id),
            tenant_id=owner.tenant_id,
            changes=changes,
        )


@retry_on_deadlock
async def delete_view(deps: Deps, actor: str, owner: ViewOwner, view_id: UUID) -> None:
    """Delete a view; raises NotFound."""
    async with deps.db.begin() as tx:
        await saved_views.lock(tx, owner)
        gone = _known(await saved_views.find(tx, owner, view_id))
        await saved_views.delete(tx, owner, view_id)
        await audit.note(
            tx, deps, actor, "view.deleted", str(view_id), tenant_id=owner.tenant_id, name=gone.name
        )


def _checked(name: str) -> str:
    name = name.strip()
    if not 1 <= len(name) <= LONGEST_NAME:
        raise BadRequest.of("name", f"must have 1 to {LONGEST_NAME} characters")
    return name


def _known(view: SavedView | None) -> SavedView:
    if view is None:
        raise NotFound("There is no such view of yours.")
    return view
