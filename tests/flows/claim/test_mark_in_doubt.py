"""Restore: a database that went back in time is noticed, and nothing goes upstream twice."""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
from typing_extensions import override

from gateway.core.model import Tenant
from gateway.flows.claim.mark_in_doubt import mark_waiting_in_doubt
from gateway.flows.maintain.sweep import sweep
from gateway.flows.process.restore_detector import RestoreDetector
from tests.flows.world import World


async def count(world: World) -> int:
    return await world.value("SELECT count FROM beacon")


async def restored(world: World, tenant: Tenant, jobs: int = 3, beats: int = 2) -> list[UUID]:
    """Jobs that the upstream took, in a database that has forgotten so and the last beats."""
    for _ in range(2):
        await sweep(world.deps)
    ids = await world.at_upstream(tenant, jobs)
    await set_back(world, ids, beats)
    world.queue.wakes.clear()
    world.upstream.calls.clear()
    return ids


async def set_back(world: World, ids: Sequence[UUID], beats: int = 2) -> None:
    await world.run(
        "UPDATE job SET state = 'accepted', upstream_id = NULL, submitted_at = NULL,"
        " credential_id = NULL, sent_at = NULL, submit_attempts = 0, version = 1,"
        " next_at = created_at WHERE id = ANY($1::uuid[])",
        list(ids),
    )
    await world.run("UPDATE credential SET poll_at = NULL")
    await world.run("UPDATE beacon SET count = count - $1", beats)


async def once_upstream(world: World, ids: Sequence[UUID]) -> bool:
    return [len(world.upstream.marked(job_id)) for job_id in ids] == [1] * len(ids)


async def test_a_claim_that_finds_the_database_set_back_sends_nothing(world: World):
    ids = await restored(world, await world.tenant())
    assert await world.submit() == 0
    assert world.upstream.calls == []
    assert await world.states() == {"submitting": 3}
    assert set(world.queue.wakes) == {("submit", 0.0)}
    ((outcome, fields),) = world.seen("restore")
    assert (outcome, fields["jobs"]) == ("distrusted", 3)
    assert await world.look_up() == 3
    assert await world.states() == {"submitted": 3}
    assert world.upstream.count("submit") == 0
    assert await once_upstream(world, ids)
    job = await world.job(ids[0])
    assert (job.upstream_id, job.submit_attempts) == (
        world.upstream.marked(ids[0])[0].upstream_id,
        1,
    )


async def test_the_sweep_notices_it_too_and_once(world: World):
    ids = await restored(world, await world.tenant())
    before = await count(world)
    await sweep(world.deps)
    assert world.seen("restore")[0][1]["jobs"] == 3
    assert await count(world) == before + 3, "higher than it ever was"
    assert list(world.queue.beacons.values()) == [before + 3]
    await world.look_up()
    await sweep(world.deps)
    assert len(world.seen("restore")) == 1
    assert await world.states() == {"submitted": 3}
    assert await once_upstream(world, ids)


@pytest.mark.parametrize("beats", [1, 2])
async def test_a_sweep_that_comes_first_does_not_hide_it(world: World, beats: int):
    ids = await restored(world, await world.tenant(), beats=beats)
    late = world.other_process(restore_detector=RestoreDetector())
    await sweep(late.deps)
    assert len(world.seen("restore")) == 1
    assert await late.submit() == 0
    assert await late.look_up() == 3
    assert await once_upstream(world, ids)


async def test_what_the_upstream_does_not_have_is_submitted_after_two_looks(world: World):
    tenant = await world.tenant()
    ids = await restored(world, tenant)
    lost = await world.accept_one(tenant)
    assert await world.submit() == 0
    for _ in range(2):
        await world.look_up()
        await world.pass_time(3)
    assert (await world.job(lost)).state == "accepted"
    assert await world.submit() == 1
    assert await world.states() == {"submitted": 4}
    assert await once_upstream(world, [*ids, lost])


async def test_a_new_process_knows_it_from_what_was_mirrored(world: World):
    ids = await restored(world, await world.tenant())
    late = world.other_process(restore_detector=RestoreDetector())
    late.deps.restore_detector.learn(await late.deps.queue.mirrored())
    assert await late.submit() == 0
    assert await late.look_up() == 3
    assert await once_upstream(world, ids)


async def test_a_sweep_recalls_what_was_mirrored(world: World):
    await restored(world, await world.tenant())
    late = world.other_process(restore_detector=RestoreDetector())
    await sweep(late.deps)
    assert world.seen("restore")[0][1]["jobs"] == 3


async def test_of_several_that_notice_it_one_acts(world: World):
    ids = await restored(world, await world.tenant())
    others = [world.other_process(restore_detector=RestoreDetector()) for _ in range(3)]
    for other in others:
        other.deps.restore_detector.learn(world.queue.beacons)
    await asyncio.gather(*(mark_waiting_in_doubt(other.deps) for other in others))
    assert len(world.seen("restore")) == 1
    assert await world.look_up() == 3
    for other in others:
        await mark_waiting_in_doubt(other.deps)
        assert await other.submit() == 0
    assert await world.states() == {"submitted": 3}
    assert await once_upstream(world, ids)


class Hasty(RestoreDetector):
    """Once knows a higher number than there is: another process raised it meanwhile."""

    was_asked = False

    @property
    @override
    def known(self) -> Mapping[UUID, int]:
        known = super().known if self.was_asked else dict.fromkeys(super().known, 10**9)
        self.was_asked = True
        return known


async def test_what_a_claim_held_is_looked_up_although_another_process_was_faster(world: World):
    """The other one left them alone, as they were claimed."""
    ids = await world.at_upstream(await world.tenant())
    await set_back(world, ids, beats=0)
    world.upstream.calls.clear()
    hasty = world.other_process(restore_detector=Hasty())
    hasty.deps.restore_detector.learn(world.deps.restore_detector.known)
    assert await hasty.submit() == 0
    job = await world.job(ids[0])
    assert (job.state, job.submit_attempts, job.strikes) == ("submitting", 1, 0)
    assert world.seen("restore") == []
    assert await hasty.look_up() == 1
    assert world.upstream.count("submit") == 0
    assert await world.states() == {"submitted": 1}
    assert await once_upstream(world, ids)


async def test_every_restore_is_caught_while_claims_and_sweeps_race(world: World):
    """Also one whose number lies one below: of two processes either may notice it first."""
    tenant = await world.tenant()
    other = world.other_process(restore_detector=RestoreDetector())
    await world.accept(tenant)
    await asyncio.gather(sweep(world.deps), other.submit())
    for number in range(1, 21):
        (job_id,) = await world.at_upstream(tenant)
        await sweep(world.deps)
        await set_back(world, [job_id], beats=1)
        await asyncio.gather(sweep(world.deps), sweep(other.deps), world.submit(), other.submit())
        assert len(world.seen("restore")) == number
        assert (await world.job(job_id)).state == "submitting"
        assert await world.look_up() == 1
        assert await once_upstream(world, [job_id])
