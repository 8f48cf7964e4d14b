"""The feed of an empty list of tenants is empty; it is never that of all tenants."""

from typing import Any
from uuid import UUID

import pytest

from gateway.errors import NotFound
from gateway.flows.read import feed
from gateway.store.feed import START

NOBODY: Any = None  # no adapter is asked


async def test_an_empty_list_of_tenants_has_no_events():
    assert (await feed.read_page(NOBODY, (), START, limit=5)).events == []
    assert await feed.newest_events(NOBODY, (), limit=5) == []
    assert await feed.find_place(NOBODY, (), UUID(int=1)) == START
    with pytest.raises(NotFound):
        await feed.find_event(NOBODY, (), UUID(int=1))
