"""Which workflows tenants can run: asked for beside the work, and seldom."""

import asyncio
from uuid import UUID

import pytest

from gateway.flows.upstream import workflow_names
from gateway.flows.upstream.workflow_names import WorkflowNames
from gateway.ports import Unknown, Workflow
from tests.flows.world import World

STEMS = [Workflow("1", "Stems", "stems", "{}")]


class Learned(dict[UUID, frozenset[str]]):
    """What was learned, by tenant."""

    def take(self, tenant_id: UUID, names: frozenset[str]) -> None:
        self[tenant_id] = names

    async def of(self, tenant_id: UUID) -> frozenset[str]:
        async with asyncio.timeout(30):
            while tenant_id not in self:  # noqa: ASYNC110 - a task of its own
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.005)  # its task is over then
        return self.pop(tenant_id)


async def test_a_list_is_asked_for_once_in_five_minutes(world: World):
    tenant, learned = await world.tenant(), Learned()
    world.upstream.always["workflows"] = STEMS
    names = WorkflowNames(world.deps, learned.take)
    assert names.ask(tenant.id)
    assert names.ask(tenant.id), "it is on its way"
    assert await learned.of(tenant.id) == {"stems"}
    world.clock.advance(299)
    assert not names.ask(tenant.id)
    world.clock.advance(2)
    assert names.ask(tenant.id)
    assert await learned.of(tenant.id) == {"stems"}
    assert world.upstream.count("workflows") == 2
    await names.close()


async def test_an_upstream_that_does_not_answer_leaves_all_unknown(world: World):
    tenant, learned = await world.tenant(), Learned()
    nobody = await world.tenant("nobody", credential=False)
    world.upstream.always["workflows"] = Unknown("timeout")
    names = WorkflowNames(world.deps, learned.take)
    for one in (tenant, nobody):
        assert names.ask(one.id)
        assert await learned.of(one.id) == frozenset()
    await names.close()


async def test_only_a_few_are_asked_for_at_once_and_none_after_the_end(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    learned = Learned()
    names = WorkflowNames(world.deps, learned.take)
    ids = [world.deps.ids.uuid() for _ in range(6)]
    assert [names.ask(one) for one in ids] == [True] * 5 + [False]
    await names.close()
    monkeypatch.setattr(workflow_names, "_TENANTS", 2)
    assert names.ask(ids[5])
    assert await learned.of(ids[5]) == frozenset()
    assert len(vars(names)["_asked"]) == 2
