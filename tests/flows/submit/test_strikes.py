"""Strikes: what breaks its handler is handled alone, then given up, and harms no neighbour."""

import asyncio
import json
from uuid import UUID

import pytest

from gateway.flows.admin.tenants import suspend_tenant
from gateway.flows.process.slots import Slots
from gateway.ports import Unknown
from tests.flows.fakes import Gate, Took
from tests.flows.scenes import OTHER, owe
from tests.flows.world import CALLBACK, HOOK, World


def poison_jobs(world: World, name: str = "poison") -> None:
    """The handler of jobs of this name breaks."""

    async def break_down() -> None:
        if world.upstream.sent[-1][1].name == name:
            raise RecursionError("too deep")

    world.upstream.gates["submit"] = break_down


def poison_receiver(world: World, url: str) -> None:
    async def break_down() -> None:
        if world.sender.sent[-1].url == url:
            raise RecursionError("too deep")

    world.sender.gate = break_down


def heard(world: World) -> list[str]:
    """The defects that were reported, taken back."""
    found = [f"{one['message']}: {one['exception']}" for one in world.failures]
    world.failures.clear()
    return found


async def look_in_vain(world: World) -> None:
    for _ in range(2):
        await world.pass_time(3)
        assert await world.look_up() == 1


async def strike(world: World, times: int) -> UUID:
    """A job that broke its handler so often, looked up each time and waiting again."""
    job_id = await world.accept_one(await world.tenant("poisoner"), name="poison")
    poison_jobs(world)
    for number in range(times):
        assert await (world.submit() if number < 2 else world.submitter.claim_quarantined())
        await world.idle()
        await look_in_vain(world)
    heard(world)
    return job_id


# --- Jobs ------------------------------------------------------------------------------------------


async def test_a_job_that_breaks_its_handler_is_in_doubt_and_counted(world: World):
    tenant = await world.tenant()
    bad = await world.accept_one(tenant, name="poison")
    good = await world.accept(tenant, 5)
    poison_jobs(world)
    assert await world.submit() == 6
    assert heard(world) == ["submit failed: too deep"]
    job = await world.job(bad)
    assert (job.state, job.strikes, job.lookups) == ("submitting", 1, 0)
    assert 1 < job.due_in <= 2
    assert await world.notes(bad) == ["submit.in_doubt"]
    assert {(await world.job(id_)).state for id_ in good} == {"submitted"}
    health = await world.health()
    assert (health.failures, health.rest) == (0, 0), "the upstream has no part in it"
    outcome = [fields for outcome, fields in world.seen("submit") if outcome == "broken"]
    assert outcome[0]["reason"] == "the gateway broke down: RecursionError"


async def test_a_job_that_broke_its_handler_twice_is_submitted_alone(world: World):
    job_id = await strike(world, 2)
    assert ((await world.job(job_id)).state, (await world.job(job_id)).strikes) == ("accepted", 2)
    tenant = await world.tenant()
    await world.accept(tenant, 3)
    assert await world.submit() == 3, "the others go on, without it"
    world.upstream.gates.clear()
    assert await world.submitter.claim_quarantined()
    await world.idle()
    job = await world.job(job_id)
    assert (job.state, job.strikes) == ("submitted", 0)
    assert not await world.submitter.claim_quarantined()


async def test_a_suspect_waits_until_its_process_does_nothing_else(world: World):
    job_id = await strike(world, 2)
    world.upstream.gates["submit"] = held = Gate()
    await world.accept(await world.tenant(), 2)
    await world.submitter.claim(10)
    await held.came.wait()
    world.upstream.gates.clear()
    waiting = asyncio.create_task(world.submitter.claim_quarantined())
    await asyncio.wait([waiting], timeout=0.05)
    assert (await world.job(job_id)).state == "accepted"
    held.open.set()
    assert await waiting
    await world.idle()
    assert (await world.job(job_id)).state == "submitted"


async def test_a_job_is_given_up_after_five_strikes_that_it_did_not_survive(world: World):
    job_id = await strike(world, 5)
    job = await world.job(job_id)
    error = json.loads(job.error)
    assert (job.state, error["code"], error["origin"]) == ("failed", "GATEWAY_FAULT", "gateway")
    assert (job.submit_attempts, len(world.upstream.sent)) == (5, 5)
    assert await world.event_types(job_id) == ["job.failed"]
    assert not await world.submitter.claim_quarantined()


async def test_a_job_with_five_strikes_that_is_upstream_is_not_given_up(world: World):
    job_id = await strike(world, 4)
    world.upstream.gates.clear()
    world.upstream.will("submit", Took(Unknown("reset")))
    await world.submitter.claim_quarantined()
    await world.idle()
    await world.run("UPDATE job SET strikes = 5")
    await world.pass_time(3)
    await world.look_up()
    job = await world.job(job_id)
    assert (job.state, job.strikes) == ("submitted", 0)


async def test_a_submit_whose_process_died_counts_too(world: World):
    job_id = await world.accept_one(await world.tenant())
    for strikes in (1, 2):
        world.upstream.gates["submit"] = held = Gate()
        process = world.other_process(slots=Slots(world.clock))
        assert await process.submit_and_die(held) == 1
        world.upstream.gates.clear()
        await world.pass_time(27)
        await world.look_up()
        await world.pass_time(3)
        await world.look_up()
        job = await world.job(job_id)
        assert (job.state, job.strikes) == ("accepted", strikes)
    assert await world.submit() == 0
    assert await world.submitter.claim_quarantined()
    await world.idle()
    assert (await world.job(job_id)).state == "submitted"


async def test_an_unclear_answer_is_no_strike(world: World):
    job_id = await world.accept_one(await world.tenant())
    world.upstream.will("submit", *[Unknown("timeout")] * 3)
    for _ in range(3):
        assert await world.submit() == 1
        await world.pass_time(60)
        await world.look_up()
        await world.pass_time(60)
        await world.look_up()
        assert (await world.job(job_id)).strikes == 0


async def test_a_suspect_that_may_not_go_holds_nobody_up(world: World):
    job_id = await strike(world, 2)
    await suspend_tenant(world.deps, "test", "poisoner", suspended=True)
    assert not await world.submitter.claim_quarantined()
    await world.accept(await world.tenant(), 2)
    assert await world.submit() == 2
    assert (await world.job(job_id)).state == "accepted"


# --- Deliveries ------------------------------------------------------------------------------------


async def delivery_to(world: World, url: str):
    return await world.row(
        "SELECT d.*, EXTRACT(epoch FROM d.next_at - now())::float8 AS due_in FROM delivery d"
        " LEFT JOIN endpoint p ON p.id = d.endpoint_id WHERE COALESCE(d.url, p.url) = $1",
        url,
    )


async def test_a_delivery_that_breaks_its_handler_is_put_off_and_its_neighbours_go_on(
    world: World,
):
    tenant = await owe(world, callback_url=CALLBACK)
    await world.ended(tenant)
    poison_receiver(world, CALLBACK)
    assert await world.deliver() == 3
    assert heard(world) == ["deliver failed: too deep"]
    delivery = await delivery_to(world, CALLBACK)
    assert (delivery.state, delivery.strikes, delivery.lease_token) == ("pending", 1, None)
    assert delivery.last_error == "the gateway broke down: RecursionError"
    assert 4 < delivery.due_in <= 5
    assert len(world.sender.to(HOOK)) == 2
    world.sender.gate = None
    await world.pass_time(6)
    await world.deliver()
    delivery = await delivery_to(world, CALLBACK)
    assert (delivery.state, delivery.strikes, delivery.attempts) == ("delivered", 0, 2)


async def test_a_suspect_delivery_is_sent_alone_and_parked_after_five_strikes(world: World):
    await world.ended(await world.tenant(), callback_url=CALLBACK)
    poison_receiver(world, CALLBACK)
    for strikes in (1, 2, 3, 4, 5):
        assert await (world.deliver() if strikes <= 2 else world.deliverer.claim_quarantined())
        await world.idle()
        assert (await delivery_to(world, CALLBACK)).strikes == strikes
        await world.pass_time(6)
    assert len(heard(world)) == 5
    assert await world.deliver() == 0
    assert not await world.deliverer.claim_quarantined()
    delivery = await delivery_to(world, CALLBACK)
    assert (delivery.state, delivery.completed_at is not None) == ("parked", True)
    assert "broke down 5 times" in delivery.last_error
    assert len(world.sender.sent) == 5
    assert not await world.deliverer.claim_quarantined()


async def test_a_suspect_delivery_that_goes_well_is_none_any_more(world: World):
    await world.ended(await world.tenant(), callback_url=CALLBACK)
    await world.run("UPDATE delivery SET strikes = 4")
    assert await world.deliver() == 0
    assert await world.deliverer.claim_quarantined()
    await world.idle()
    delivery = await delivery_to(world, CALLBACK)
    assert (delivery.state, delivery.strikes) == ("delivered", 0)


@pytest.mark.parametrize("column", ["disabled_at", "deleted_at"])
async def test_nothing_is_sent_to_an_endpoint_that_was_closed_meanwhile(world: World, column: str):
    tenant = await owe(world)
    await world.endpoint(tenant, OTHER)
    await world.run(f"UPDATE endpoint SET {column} = now() WHERE url = $1", HOOK)
    assert await world.deliver() == 0
    assert world.sender.sent == []
