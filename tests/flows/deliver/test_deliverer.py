"""The deliverer: webhooks are signed, recorded, and retried, never at another receiver's cost."""

import json

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.webhooks.signing import SignatureError, parse_secret
from gateway.flows.deliver.signing_secrets import default_secret
from gateway.flows.process.slots import Slots
from tests.flows.fakes import Gate, reply
from tests.flows.scenes import OTHER, attempts, check, owe, secret_of
from tests.flows.world import CALLBACK, HOOK, World


async def test_an_event_is_posted_as_it_was_frozen_and_signed(world: World):
    tenant = await owe(world)
    assert await world.deliver() == 1
    (sent,) = world.sender.sent
    (event,) = await world.events()
    (delivery,) = await world.deliveries()
    assert (sent.url, sent.body) == (HOOK, event.body.encode())
    headers = dict(sent.headers)
    assert headers["webhook-id"] == str(event.id)
    assert headers["content-type"] == "application/json"
    check(sent, await secret_of(world, delivery.endpoint_id, tenant))
    with pytest.raises(SignatureError):
        check(sent, await secret_of(world, None, tenant))
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
    assert (delivery.lease_token, delivery.completed_at is not None) == (None, True)
    assert await world.deliver() == 0


async def test_every_attempt_is_recorded(world: World):
    await owe(world)
    world.sender.will(HOOK, reply(500, [("Server", "x")], b"o\x00ps \xff", 0.25))
    await world.deliver()
    (attempt,) = await attempts(world)
    assert (attempt.number, attempt.status, attempt.url) == (1, 500, HOOK)
    assert (attempt.duration_ms, attempt.error_class, attempt.detail) == (250, "http_5xx", None)
    assert attempt.response_body == "o\ufffdps \ufffd"
    assert json.loads(attempt.response_headers) == {"Server": "x"}
    assert json.loads(attempt.request_headers) == dict(world.sender.sent[0].headers)
    outcome, fields = world.seen("deliver")[0]
    assert (outcome, fields["number"], fields["status"]) == ("retry", 1, 500)
    assert 0 <= float(str(fields["late_seconds"])) < 60


async def test_headers_that_postgres_cannot_hold_are_no_error(world: World):
    await owe(world)
    world.sender.will(HOOK, reply(200, [("X", "a\x00b")]))
    await world.deliver()
    assert (await attempts(world))[0].response_headers == '{"X": "a\\ufffdb"}'


async def test_a_callback_is_signed_with_the_tenants_own_secret(world: World):
    tenant = await world.tenant()
    await world.ended(tenant, callback_url=CALLBACK)
    await world.deliver()
    (sent,) = world.sender.sent
    assert sent.url == CALLBACK
    check(sent, parse_secret(await default_secret(world.deps, tenant.id)))


# --- processes that stand still --------------------------------------------------------------------


async def test_a_late_process_does_not_send(world: World):
    await owe(world)
    assert await world.deliverer.claim(10) == 1
    world.clock.advance(25.1)
    await world.idle()
    assert world.sender.sent == []
    await world.pass_time(31)
    assert await world.deliver() == 1
    assert (await world.deliveries())[0].state == "delivered"


async def test_a_late_answer_does_not_take_a_delivery_back(world: World):
    await owe(world)
    world.sender.gate = held = Gate()
    world.sender.will(HOOK, reply(500))
    await world.deliverer.claim(10)
    await held.came.wait()
    await world.pass_time(31)
    world.sender.gate = None
    world.sender.script[HOOK].appendleft(reply(200))
    await world.other_process(slots=Slots(world.clock)).deliver()
    held.open.set()
    await world.idle()
    (delivery,) = await world.deliveries()
    assert (delivery.state, delivery.last_status, delivery.attempts) == ("delivered", 200, 2)
    ids = {dict(webhook.headers)["webhook-id"] for webhook in world.sender.sent}
    assert len(ids) == 1
    assert [(a.number, a.status) for a in await attempts(world)] == [(1, 500), (2, 200)]


async def test_a_crash_after_the_receiver_said_yes_sends_the_same_id_again(world: World):
    await owe(world)

    def die(point: str) -> None:
        if point == "deliver.sent":
            raise RuntimeError(point)

    await world.other_process(crash_point=die, slots=Slots(world.clock)).deliver()
    assert str(world.failures.pop()["exception"]) == "deliver.sent"
    assert await world.deliver() == 0
    await world.pass_time(31)
    assert await world.deliver() == 1
    first, second = world.sender.sent
    assert (dict(first.headers)["webhook-id"], first.body) == (
        dict(second.headers)["webhook-id"],
        second.body,
    )
    assert (await world.deliveries())[0].attempts == 2


async def test_a_secret_that_cannot_be_opened_holds_up_its_own_tenant_only(world: World):
    """After a change of the master key, say, that left an old one out."""
    await owe(world)
    lost = world.other_process(cipher=Cipher([b"x" * 32]))
    theirs = await lost.tenant("other", hook=OTHER, events=["job.succeeded"])
    await lost.ended(theirs)
    await world.deliver()
    assert len(world.sender.to(HOOK)) == 1
    assert world.sender.to(OTHER) == []
    await world.pass_time(400)
    await lost.deliver()
    assert {row.state for row in await world.deliveries()} == {"delivered"}
