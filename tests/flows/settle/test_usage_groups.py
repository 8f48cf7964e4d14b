"""Usage by several columns: too many groups are refused before their sums are computed."""

import asyncio

import pytest

from gateway.errors import BadRequest
from gateway.flows.settle.usage import MAX_GROUPS, read_usage
from tests.flows.world import World

_FILL = """
INSERT INTO usage_daily (tenant_id, day, workflow, status, error_code, shard, jobs)
SELECT $1, date_trunc('day', now(), 'UTC'), 'workflow-' || n, 'SUCCEEDED', '', 0, 1
FROM generate_series(1, $2::int) AS n"""


@pytest.mark.parametrize(("groups", "is_refused"), [(MAX_GROUPS, False), (MAX_GROUPS + 1, True)])
async def test_too_many_groups_are_refused(world: World, groups: int, is_refused: bool):
    tenant = await world.tenant()
    async with world.deps.db.single() as tx:
        await tx.run(_FILL, tenant.id, groups)
    turn = asyncio.Lock()
    by, only = ["workflow", "status"], [tenant.id]
    if is_refused:
        with pytest.raises(BadRequest, match="more than 10000 groups"):
            await read_usage(world.deps, by, only, None, None, turn=turn)
    else:
        assert len(await read_usage(world.deps, by, only, None, None, turn=turn)) == groups
