"""Views of lists that people keep by name: of somebody of the staff, or of a tenant.

A view of staff belongs to the name of its person, so it outlives the rotation of a key. Others see it if it
is shared. A view of a tenant belongs to all who are let in to its portal.
"""

from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx
from gateway.store.statement import Query, Statement


class ViewOwner(NamedTuple):
    """Whose views: those of a tenant, or without one those of a person of the staff."""

    tenant_id: UUID | None
    name: str  # empty for a tenant


class SavedView(NamedTuple):
    """A filter by name; `query` is that of its URL."""

    id: UUID
    owner: str
    name: str
    query: str
    is_shared: bool


_COLUMNS = "id, owner, name, query, is_shared"
# Statements are planned with their values, so only one of the two is left of it.
_OWN = """(:tenant_id::uuid IS NOT NULL AND tenant_id = :tenant_id::uuid
  OR :tenant_id::uuid IS NULL AND tenant_id IS NULL AND owner = :owner::text)"""

# Changes of the views of an owner follow each other, so that names stay unique and the number limited.
_LOCK = Statement(
    """
SELECT pg_advisory_xact_lock(
  hashtextextended('saved view:' || COALESCE(:tenant_id::uuid::text, 'of ' || :owner::text), 0))"""
)

_LIST = Query(
    f"SELECT {_COLUMNS} FROM saved_view WHERE {_OWN} ORDER BY name LIMIT :most", SavedView
)

_SHARED = Query(
    f"""
SELECT {_COLUMNS} FROM saved_view
WHERE tenant_id IS NULL AND is_shared AND owner <> :owner ORDER BY name LIMIT :most""",
    SavedView,
)

_REPLACE = Query(
    f"""
UPDATE saved_view SET query = :query, is_shared = :is_shared WHERE {_OWN} AND name = :name
RETURNING {_COLUMNS}""",
    SavedView,
)

_ADD = Query(
    f"""
INSERT INTO saved_view (id, tenant_id, owner, name, query, is_shared)
SELECT :view_id, :tenant_id::uuid, :owner::text, :name, :query, :is_shared
WHERE (SELECT count(*) FROM saved_view WHERE {_OWN}) < :most::int
RETURNING {_COLUMNS}""",
    SavedView,
)

_FIND = Query(f"SELECT {_COLUMNS} FROM saved_view WHERE {_OWN} AND id = :view_id", SavedView)

_NAMED = Query(f"SELECT {_COLUMNS} FROM saved_view WHERE {_OWN} AND name = :name", SavedView)

_CHANGE = Statement(
    f"UPDATE saved_view SET name = :name, is_shared = :is_shared WHERE {_OWN} AND id = :view_id"
)

_DELETE = Statement(f"DELETE FROM saved_view WHERE {_OWN} AND id = :view_id")


async def lock(tx: Tx, owner: ViewOwner) -> None:
    """Keep other changes of the owner's views out until the transaction ends."""
    await _LOCK.row(tx, tenant_id=owner.tenant_id, owner=owner.name)


async def page(tx: Tx, owner: ViewOwner, most: int) -> list[SavedView]:
    """The first `most` views of an owner by name."""
    return await _LIST.rows(tx, tenant_id=owner.tenant_id, owner=owner.name, most=most)


async def shared(tx: Tx, owner: ViewOwner, most: int) -> list[SavedView]:
    """The first `most` views by name that others of the staff share."""
    return await _SHARED.rows(tx, owner=owner.name, most=most)


async def put(
    tx: Tx, view_id: UUID, owner: ViewOwner, *, name: str, query: str, is_shared: bool, most: int
) -> SavedView | None:
    """Store a view, or replace the one of that name; None if the owner has `most` of them. Needs `lock`."""
    given = {"tenant_id": owner.tenant_id, "owner": owner.name, "name": name, "query": query}
    found = await _REPLACE.row(tx, **given, is_shared=is_shared)
    return found or await _ADD.row(tx, **given, view_id=view_id, is_shared=is_shared, most=most)


async def find(tx: Tx, owner: ViewOwner, view_id: UUID) -> SavedView | None:
    """A view of an owner."""
    return await _FIND.row(tx, tenant_id=owner.tenant_id, owner=owner.name, view_id=view_id)


async def named(tx: Tx, owner: ViewOwner, name: str) -> SavedView | None:
    """The view of an owner that has this name."""
    return await _NAMED.row(tx, tenant_id=owner.tenant_id, owner=owner.name, name=name)


async def change(tx: Tx, owner: ViewOwner, view_id: UUID, *, name: str, is_shared: bool) -> None:
    """Give a view another name, and share it or not. Needs `lock`, and a name that is free."""
    given = {"tenant_id": owner.tenant_id, "owner": owner.name, "name": name}
    await _CHANGE.run(tx, **given, view_id=view_id, is_shared=is_shared)


async def delete(tx: Tx, owner: ViewOwner, view_id: UUID) -> None:
    """Delete a view."""
    await _DELETE.run(tx, tenant_id=owner.tenant_id, owner=owner.name, view_id=view_id)
