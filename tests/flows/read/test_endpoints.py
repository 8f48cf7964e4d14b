"""How an endpoint is doing, as pages tell it."""

from uuid import uuid4

import pytest

from gateway.errors import NotFound
from gateway.flows.read.endpoints import endpoint_record
from tests.flows.world import World


async def test_an_endpoint_that_there_is_not_is_not_found(world: World):
    tenant = await world.tenant()
    with pytest.raises(NotFound):
        await endpoint_record(world.deps, tenant.id, uuid4())
