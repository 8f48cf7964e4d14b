"""Saved views: named, replaced, shared, limited, and nobody else's."""

import json
from uuid import uuid4

import pytest

from gateway.errors import BadRequest, Conflict, NotFound
from gateway.flows.admin import saved_views
from gateway.flows.admin.saved_views import (
    ViewOwner,
    change_view,
    delete_view,
    known_views,
    save_view,
)
from gateway.store.tenancy.saved_views import SavedView
from tests.flows.world import World

ANN, BOB = ViewOwner(None, "Ann"), ViewOwner(None, "Bob")


async def saved(
    world: World, owner: ViewOwner, name: str, query: str = "q=1", *, is_shared: bool = False
) -> SavedView:
    return await save_view(world.deps, "key", owner, name=name, query=query, is_shared=is_shared)


async def names(world: World, owner: ViewOwner) -> tuple[list[str], list[str]]:
    own, shared = await known_views(world.deps, owner)
    return [one.name for one in own], [one.name for one in shared]


async def test_a_view_is_seen_by_its_owner_and_by_others_if_it_is_shared(world: World):
    await saved(world, ANN, "mine")
    await saved(world, ANN, " ours ", is_shared=True)
    assert await names(world, ANN) == (["mine", "ours"], [])
    assert await names(world, BOB) == ([], ["ours"])


async def test_a_name_is_replaced(world: World):
    first = await saved(world, ANN, "one", "a=1")
    again = await saved(world, ANN, "one", "a=2", is_shared=True)
    assert (again.id, again.query, again.is_shared) == (first.id, "a=2", True)
    assert (await saved(world, BOB, "one")).id != first.id


async def test_views_of_a_tenant_are_its_own_and_never_shared(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    mine, theirs = ViewOwner(tenant.id, ""), ViewOwner(other.id, "")
    kept = await saved(world, mine, "night", is_shared=True)
    assert not kept.is_shared
    assert await names(world, mine) == (["night"], [])
    for owner in (theirs, ANN, ViewOwner(None, "")):
        assert await names(world, owner) == ([], [])
        with pytest.raises(NotFound):
            await delete_view(world.deps, "key", owner, kept.id)
        with pytest.raises(NotFound):
            await change_view(world.deps, "key", owner, kept.id, name="x", is_shared=False)


async def test_a_view_is_renamed_unless_the_name_is_taken(world: World):
    one, two = await saved(world, ANN, "one"), await saved(world, ANN, "two")
    with pytest.raises(Conflict, match="has this name"):
        await change_view(world.deps, "key", ANN, two.id, name="one", is_shared=False)
    await change_view(world.deps, "key", ANN, two.id, name="two", is_shared=True)
    await change_view(world.deps, "key", ANN, one.id, name="three", is_shared=False)
    assert await names(world, ANN) == (["three", "two"], [])
    assert await names(world, BOB) == ([], ["two"])


async def test_a_view_is_deleted(world: World):
    one = await saved(world, ANN, "one")
    await delete_view(world.deps, "key", ANN, one.id)
    assert await names(world, ANN) == ([], [])
    with pytest.raises(NotFound):
        await delete_view(world.deps, "key", ANN, uuid4())


async def test_an_owner_has_so_many(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(saved_views, "MOST", 2)
    for name in ("a", "b"):
        await saved(world, ANN, name)
    with pytest.raises(Conflict, match="Delete one first"):
        await saved(world, ANN, "c")
    await saved(world, ANN, "b", "q=2")
    await saved(world, BOB, "c")


@pytest.mark.parametrize("name", ["", "  ", "x" * 61])
async def test_a_name_has_a_length(world: World, name: str):
    with pytest.raises(BadRequest, match="1 to 60"):
        await saved(world, ANN, name)


async def test_a_query_has_a_length(world: World):
    with pytest.raises(BadRequest, match="too long"):
        await saved(world, ANN, "long", "x" * 8_001)


async def test_each_change_is_in_the_audit_log(world: World):
    one = await saved(world, ANN, "one")
    await change_view(world.deps, "key", ANN, one.id, name="two", is_shared=True)
    await delete_view(world.deps, "key", ANN, one.id)
    rows = await world.rows(
        "SELECT action, detail FROM audit WHERE subject = $1 ORDER BY id", str(one.id)
    )
    assert [row.action for row in rows] == ["view.saved", "view.changed", "view.deleted"]
    changed = json.loads(rows[1].detail)["changes"]
    assert changed["name"] == {"from": "one", "to": "two"}
