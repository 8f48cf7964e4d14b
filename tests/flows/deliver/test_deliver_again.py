"""Retries: on schedule, more slowly if the receiver asks for it, never at other receivers' cost."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.core.policy import DELIVERY_DELAYS
from gateway.flows.deliver.endpoints import delete_endpoint
from gateway.ports import SendFault
from tests.flows.fakes import Gate, reply
from tests.flows.scenes import OTHER, attempts, check, owe, secret_of
from tests.flows.world import CALLBACK, HOOK, World


async def test_a_failing_receiver_is_tried_on_schedule_with_one_id_until_none_is_left(
    world: World,
):
    tenant = await owe(world)
    endpoint_id = (await world.deliveries())[0].endpoint_id
    world.sender.always[HOOK] = reply(500)
    for delay in DELIVERY_DELAYS:
        assert await world.deliver() == 1
        (delivery,) = await world.deliveries()
        assert delivery.state == "pending"
        assert delay - 5 < delivery.due_in <= 1.1 * delay
        await world.pass_time(delivery.due_in - 1)
        assert await world.deliver() == 0
        await world.pass_time(1)
    assert await world.deliver() == 1
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("exhausted", 10, 500)
    assert delivery.completed_at is not None
    await world.pass_time(100_000)
    assert await world.deliver() == 0
    sent = [dict(webhook.headers) for webhook in world.sender.sent]
    assert len({one["webhook-id"] for one in sent}) == 1
    assert len(sent) == 10
    secret = await secret_of(world, endpoint_id, tenant)
    for webhook in world.sender.sent:
        stamp = int(dict(webhook.headers)["webhook-timestamp"])
        check(webhook, secret, datetime.fromtimestamp(stamp, UTC))
    assert [attempt.number for attempt in await attempts(world)] == list(range(1, 11))
    assert world.seen("deliver")[-1][0] == "exhausted"


@pytest.mark.parametrize(
    "answer", [reply(302), reply(404), reply(500), SendFault("timeout", "no answer in 15 s", 15.0)]
)
async def test_an_attempt_without_success_is_repeated(world: World, answer: object):
    await owe(world)
    world.sender.will(HOOK, answer)  # pyright: ignore[reportArgumentType]
    await world.deliver()
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.attempts) == ("pending", 1)
    assert world.queue.wakes == [("deliver", pytest.approx(5.25))]
    await world.pass_time(6)
    await world.deliver()
    assert (await world.deliveries())[0].state == "delivered"


async def test_a_fault_is_recorded_in_its_own_words(world: World):
    await owe(world)
    world.sender.will(HOOK, SendFault("dns", "no\x00 such host", 0.5))
    await world.deliver()
    (attempt,) = await attempts(world)
    assert (attempt.status, attempt.error_class, attempt.detail) == (
        None,
        "dns",
        "no\ufffd such host",
    )
    assert (attempt.response_headers, attempt.response_body) == (None, None)
    assert (await world.deliveries())[0].last_error == "no\ufffd such host"


async def test_a_longer_wait_is_left_to_the_sweep(world: World):
    await owe(world)
    await world.run("UPDATE delivery SET attempts = 1")
    world.sender.will(HOOK, reply(500))
    await world.deliver()
    assert world.queue.wakes == []
    assert 295 < (await world.deliveries())[0].due_in <= 330


# --- receivers that want less ---------------------------------------------------------------------


async def test_gone_disables_the_endpoint_and_parks_all_it_is_owed(world: World):
    tenant = await owe(world, 3)
    await world.endpoint(tenant, OTHER)
    world.sender.will(HOOK, reply(410))
    assert await world.deliver(1) == 1
    (told,) = [row for row in await world.deliveries() if row.job_id is None]
    assert (
        told.url or await world.value("SELECT url FROM endpoint WHERE id = $1", told.endpoint_id)
    ) == OTHER
    assert {row.state for row in await world.deliveries() if row.job_id} == {"parked"}
    (first,) = [row for row in await world.deliveries() if row.attempts]
    assert (first.last_status, first.lease_token) == (410, None)
    endpoint = await world.row("SELECT * FROM endpoint WHERE url = $1", HOOK)
    assert endpoint.disabled_at is not None
    assert endpoint.disabled_reason == "the receiver answered 410 Gone"
    assert await world.value("SELECT disabled_at FROM endpoint WHERE url = $1", OTHER) is None
    await world.ended(tenant)
    assert [row.state for row in await world.deliveries() if row.endpoint_id == endpoint.id] == [
        "parked"
    ] * 4
    assert await world.deliver() == 2, "only what the other endpoint is owed"
    kinds = [json.loads(sent.body)["type"] for sent in world.sender.sent if sent.url == OTHER]
    assert sorted(kinds) == ["endpoint.disabled", "job.succeeded"]


async def test_an_endpoint_that_was_disabled_meanwhile_is_not_reported_again(world: World):
    tenant = await owe(world, 1)
    await world.endpoint(tenant, OTHER)
    world.sender.will(HOOK, reply(410))
    world.sender.gate = held = Gate()
    assert await world.deliverer.claim(1) == 1
    await held.came.wait()
    await world.run("UPDATE endpoint SET disabled_at = now(), disabled_reason = 'by hand'")
    held.open.set()
    await world.idle()
    assert [row.state for row in await world.deliveries()] == ["parked"]
    assert (
        await world.value("SELECT disabled_reason FROM endpoint WHERE url = $1", HOOK) == "by hand"
    )


async def test_gone_ends_a_callback_which_has_no_endpoint(world: World):
    await world.ended(await world.tenant(), callback_url=CALLBACK)
    world.sender.will(CALLBACK, reply(410))
    await world.deliver()
    assert (await world.deliveries())[0].state == "exhausted"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_an_overloaded_endpoint_rests_as_a_whole_as_long_as_it_asks(
    world: World, status: int
):
    tenant = await owe(world, 5)
    await world.endpoint(tenant, OTHER)
    world.sender.will(HOOK, reply(status, [("Retry-After", "120")]))
    assert await world.deliver(1) == 1
    assert await world.deliver() == 0
    await world.ended(tenant)
    assert await world.deliver() == 1, "the other endpoint does not rest"
    await world.pass_time(118)
    assert await world.deliver() == 0
    await world.pass_time(3)
    assert await world.deliver() == 6
    assert world.sender.to(HOOK)[0] is not None
    assert {row.state for row in await world.deliveries()} == {"delivered"}


async def test_an_overloaded_endpoint_that_asks_for_nothing_rests_a_minute(world: World):
    await owe(world, 3)
    world.sender.will(HOOK, reply(503), reply(429, [("retry-after", "90")]), reply(503))
    assert await world.deliver() == 3
    rest = await world.value(
        "SELECT EXTRACT(epoch FROM paused_until - now())::float8 FROM endpoint"
    )
    assert 85 < rest <= 90
    assert sorted(round(row.due_in) for row in await world.deliveries())[:2] == [60, 60]


async def test_an_overloaded_callback_waits_alone(world: World):
    tenant = await world.tenant()
    await world.ended(tenant, 2, callback_url=CALLBACK)
    world.sender.will(CALLBACK, reply(503))
    assert await world.deliver(1) == 1
    assert await world.deliver() == 1
    assert sorted(row.state for row in await world.deliveries()) == ["delivered", "pending"]


async def test_a_receiver_that_hangs_holds_its_own_room_only(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.succeeded"])
    await world.ended(tenant, 60)
    other = await world.tenant("other", hook=OTHER, events=["job.succeeded"])
    await world.ended(other, 5)
    world = world.other_process(policy=replace(world.deps.policy, window_start=20))
    world.sender.gate = held = Gate()
    assert await world.deliverer.claim(100) == 25
    assert await world.deliverer.claim(100) == 0
    held.open.set()
    await world.idle()
    assert (len(world.sender.to(HOOK)), len(world.sender.to(OTHER))) == (20, 5)


async def test_an_endpoint_that_is_deleted_meanwhile_is_owed_nothing_more(world: World):
    tenant = await owe(world)
    endpoint_id = (await world.deliveries())[0].endpoint_id
    world.sender.gate = held = Gate()
    await world.deliverer.claim(10)
    await held.came.wait()
    await delete_endpoint(world.deps, tenant.id, endpoint_id)
    world.sender.will(HOOK, reply(500))
    held.open.set()
    await world.idle()
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.last_error) == ("exhausted", "the endpoint was deleted")


@pytest.mark.parametrize("ahead", [600, -600])
async def test_a_worker_with_a_wrong_clock_signs_with_the_time_of_postgres(
    world: World, ahead: float
):
    tenant = await owe(world)
    world.clock.ahead = ahead
    await world.deliver()
    (webhook,) = world.sender.sent
    (delivery,) = await world.deliveries()
    secret = await secret_of(world, delivery.endpoint_id, tenant)
    check(webhook, secret, await world.value("SELECT now()"))
    (attempt,) = await attempts(world)
    assert abs((attempt.started_at - delivery.created_at).total_seconds()) < 60


async def test_a_receiver_is_sent_a_few_and_then_more_with_each_answer(world: World):
    few = world.other_process(policy=replace(world.deps.policy, window_start=3))
    await owe(world, 40)
    assert [await few.deliver() for _ in range(4)] == [3, 24, 13, 0]
    assert {row.state for row in await world.deliveries()} == {"delivered"}


async def test_a_claimed_delivery_without_a_turn_is_given_back_uncounted(world: World):
    policy = replace(world.deps.policy, window_start=2, turn_seconds=0.02)
    here = world.other_process(policy=policy)
    await owe(world, 24)
    assert await here.deliver() == 2
    world.sender.gate = held = Gate()
    assert await here.deliverer.claim(100) == 16, "four at a time, and three times as many ahead"
    async with asyncio.timeout(10):
        while here.deps.slots.used("deliver") > 4:
            await here.deps.slots.wait_for_slot(0.05)
    waiting = [row for row in await world.deliveries() if row.state == "pending"]
    back = [row for row in waiting if row.lease_token is None and row.attempts == 0]
    assert len(back) == 22 - 4
    assert {row.strikes for row in back} == {0}
    assert sorted(row.due_in > 0.5 for row in back) == [False] * 6 + [True] * 12
    held.open.set()
    await here.idle()
    await world.pass_time(2)
    assert await here.deliver() == 18
    assert {(row.state, row.attempts) for row in await world.deliveries()} == {("delivered", 1)}
