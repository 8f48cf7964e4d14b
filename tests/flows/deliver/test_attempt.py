"""One attempt: the request that is sent, and the record of it without a secret."""

import json
from typing import Any
from uuid import UUID

import pytest

from gateway.core.model import Attempt, Delivery, Tenant
from gateway.core.webhooks.signed_request import Reply, Timings
from gateway.flows.deliver.sample import try_endpoint
from gateway.ports import SendFault
from gateway.store.delivery_search import log as delivery_log
from gateway.store.delivery_search.filter import DeliveryFilter
from tests.flows.fakes import reply
from tests.flows.scenes import endpoint_row, owe, owe_rows
from tests.flows.world import HOOK, World


async def log(world: World) -> list[tuple[Delivery, list[Attempt]]]:
    """Every delivery of the one tenant as callers read it, oldest first."""
    tenant_id = await world.value("SELECT id FROM tenant")
    async with world.deps.db.single() as tx:
        found = await delivery_log.page(tx, DeliveryFilter(tenant_id), before=None, limit=100)
        kept = await delivery_log.attempts(tx, tenant_id, [one.id for one in found])
    return [(one, [a for id_, a in kept if id_ == one.id]) for one in reversed(found)]


async def only_attempt(world: World) -> tuple[Delivery, Attempt]:
    ((delivery, (attempt,)),) = await log(world)
    return delivery, attempt


async def test_custom_headers_are_sent_and_never_shown(world: World):
    tenant = await world.tenant()
    custom = {"Authorization": "Bearer s3cr3t", "User-Agent": "Acme-s3cr3t", "X-Empty": ""}
    endpoint_id = await world.endpoint(tenant, HOOK, headers=custom)
    await world.ended(tenant)
    await world.deliver()
    (sent,) = world.sender.sent
    names = [name for name, _ in sent.headers]
    assert len(names) == len(set(names)), "no header is there twice"
    headers = dict(sent.headers)
    assert headers["authorization"] == "Bearer s3cr3t"
    assert headers["user-agent"] == "Acme-s3cr3t", "the tenant's own goes before ours"
    assert headers["x-empty"] == ""
    assert {"webhook-id", "webhook-timestamp", "webhook-signature", "content-type"} <= set(names)
    _, attempt = await only_attempt(world)
    logged = json.loads(attempt.request_headers)
    assert {name for name, value in logged.items() if value == "[hidden]"} == {
        "authorization",
        "user-agent",
        "x-empty",
    }
    assert {k: v for k, v in logged.items() if v != "[hidden]"} == {
        k: v for k, v in headers.items() if logged[k] != "[hidden]"
    }
    for table in ("endpoint", "delivery", "attempt", "event", "audit"):
        rows = await world.rows(f"SELECT * FROM {table}")
        assert "s3cr3t" not in str([dict(row.items()) for row in rows]), table
    assert (await endpoint_row(world)).id == endpoint_id


SECRET = "TOPSECRET9/+"
ECHOED = (
    f'authorization: Bearer {SECRET}; alone {SECRET}; key a"quoted"key; '
    + json.dumps({"key": 'a"quoted"key', "slash": SECRET}).replace("/", "\\/")
    + " pin 123, pins 1234"
)
HIDDEN = (
    "authorization: [hidden]; alone [hidden]; key [hidden]; "
    '{"key": "[hidden]", "slash": "[hidden]"} pin 123, pins [hidden]'
)


async def echoing_endpoint(world: World) -> tuple[Tenant, UUID]:
    tenant = await world.tenant()
    pins = {"X-Pin": "123", "X-Pins": "1234", "X-Empty": ""}
    custom = {"Authorization": f"Bearer {SECRET}", "X-Key": 'a"quoted"key', **pins}
    return tenant, await world.endpoint(tenant, HOOK, headers=custom)


async def test_custom_headers_that_a_receiver_repeats_are_not_kept(world: World):
    tenant, _ = await echoing_endpoint(world)
    await world.ended(tenant)
    world.sender.will(HOOK, reply(500, [("x-echo", ECHOED)], ECHOED.encode()))
    await world.deliver()
    _, attempt = await only_attempt(world)
    assert attempt.response_body == HIDDEN
    assert json.loads(attempt.response_headers or "") == {"x-echo": HIDDEN}


async def test_a_sample_hides_custom_headers_that_the_receiver_repeats(world: World):
    tenant, endpoint_id = await echoing_endpoint(world)
    world.sender.will(HOOK, reply(200, [("x-echo", ECHOED)], ECHOED.encode()))
    trial = await try_endpoint(world.deps, tenant, endpoint_id)
    assert trial.attempt.response_body == HIDDEN
    assert SECRET not in repr(trial)


async def test_an_error_that_repeats_a_custom_header_does_not_tell_it(world: World):
    tenant, _ = await echoing_endpoint(world)
    await world.ended(tenant)
    world.sender.will(HOOK, SendFault("body", f"odd: {SECRET}", 0.1))
    await world.deliver()
    delivery, attempt = await only_attempt(world)
    assert (attempt.detail, delivery.last_error) == ("odd: [hidden]", "odd: [hidden]")


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        pytest.param(f"Bearer {SECRET}"[:-1], "[hidden]", id="all-but-one"),
        pytest.param(SECRET[:8], "[hidden]", id="eight"),
        pytest.param(SECRET[:7], SECRET[:7], id="seven-tell-nothing"),
        pytest.param("Bearer Bearer T", "Bearer [hidden]", id="begun-twice"),
        pytest.param(SECRET[:8] + " and more", SECRET[:8] + " and more", id="not-at-the-end"),
    ],
)
async def test_a_custom_header_that_is_cut_with_the_body_is_not_kept(
    world: World, end: str, kept: str
):
    tenant, _ = await echoing_endpoint(world)
    await world.ended(tenant)
    world.sender.will(HOOK, reply(500, body=b"x" * 100 + end.encode()))
    await world.deliver()
    _, attempt = await only_attempt(world)
    assert attempt.response_body == "x" * 100 + kept


async def test_a_header_that_is_there_twice_is_kept_twice(world: World):
    await owe(world)
    cookies = [("set-cookie", "a=1"), ("x-one", "1"), ("set-cookie", "b=2")]
    world.sender.will(HOOK, reply(200, cookies))
    await world.deliver()
    _, attempt = await only_attempt(world)
    assert json.loads(attempt.response_headers or "") == {"set-cookie": "a=1, b=2", "x-one": "1"}


async def test_every_phase_is_timed_and_the_next_attempt_told(world: World):
    await owe(world)
    timings = Timings(dns=0.001, connect=0.0025, tls=0.03, first_byte=0.4)
    world.sender.will(HOOK, Reply(500, (), b"", 0.45, timings))
    await world.deliver()
    delivery, attempt = await only_attempt(world)
    assert json.loads(attempt.timings or "") == {
        "dns": 0.001,
        "connect": 0.0025,
        "tls": 0.03,
        "firstByte": 0.4,
    }
    assert attempt.duration_ms == 450
    assert attempt.next_at == delivery.next_at
    assert delivery.last_class == "http_5xx"


async def test_phases_that_did_not_happen_are_left_out(world: World):
    await owe(world)
    world.sender.will(HOOK, SendFault("connect", "refused", 0.1, Timings(dns=0.5)))
    await world.deliver()
    _, attempt = await only_attempt(world)
    assert json.loads(attempt.timings or "") == {"dns": 0.5}


async def test_the_last_attempt_has_none_after_it(world: World):
    await owe(world)
    await world.deliver()
    delivery, attempt = await only_attempt(world)
    assert (attempt.next_at, attempt.timings) == (None, "{}")
    assert (delivery.last_class, delivery.last_error) == (None, None)


async def test_an_egress_fault_is_recorded_as_ours(world: World):
    await owe(world)
    world.sender.will(HOOK, SendFault("egress", "the egress proxy is away", 0.1))
    await world.deliver()
    delivery, attempt = await only_attempt(world)
    assert (attempt.error_class, attempt.detail) == ("egress", "the egress proxy is away")
    assert (delivery.state, delivery.last_class) == ("pending", "egress")


async def test_an_endpoints_own_schedule_is_kept_to(world: World):
    tenant = await world.tenant()
    await world.endpoint(tenant, HOOK, schedule=(7, 70))
    await world.ended(tenant)
    world.sender.always[HOOK] = reply(500)
    for delay in (7, 70):
        assert await world.deliver() == 1
        (row,) = await world.deliveries()
        assert row.state == "pending"
        assert delay - 5 < row.due_in <= 1.1 * delay
        await world.pass_time(1.1 * delay)
    assert await world.deliver() == 1
    (row,) = await world.deliveries()
    assert (row.state, row.attempts) == ("exhausted", 3)


async def test_an_endpoint_can_want_one_attempt_only(world: World):
    tenant = await world.tenant()
    await world.endpoint(tenant, HOOK, schedule=())
    await world.ended(tenant)
    world.sender.will(HOOK, reply(500))
    await world.deliver()
    assert [row.state for row in await world.deliveries()] == ["exhausted"]


async def test_details_that_cannot_be_stored_never_keep_an_outcome_from_being_recorded(
    world: World,
):
    tenant = await world.tenant(hook=HOOK)
    await owe_rows(world, tenant, (await endpoint_row(world)).id, 3, "pending")
    world.sender.will(HOOK, reply(200, body=b"fine"), reply(500, [("x", "y")], b"odd"), reply(200))
    check = "ALTER TABLE attempt ADD CONSTRAINT odd CHECK (response_body <> 'odd')"
    await world.rows(check)
    try:
        await world.deliver()
    finally:
        await world.rows("ALTER TABLE attempt DROP CONSTRAINT odd")
    assert "odd" in str(world.failures.pop()["exception"])
    found = await log(world)
    assert sorted(one.state for one, _ in found) == ["delivered", "delivered", "pending"]
    kept = [attempt for _, (attempt,) in found]
    (bare,) = [attempt for attempt in kept if attempt.status == 500]
    assert (bare.response_headers, bare.response_body, bare.detail) == (None, None, None)
    assert (bare.error_class, bare.url, bare.number) == ("http_5xx", HOOK, 1)
    assert "webhook-signature" in bare.request_headers
    assert {attempt.response_body for attempt in kept} == {"fine", "", None}


async def test_text_that_no_database_holds_is_no_reason_to_send_again(world: World):
    """Servers' own words can come with bytes that are no UTF-8, as lone surrogates."""
    await owe(world)
    world.sender.will(HOOK, SendFault("body", "bad header \udcff", 0.1))
    await world.deliver()
    assert "cannot be stored" in str(world.failures.pop()["exception"])
    delivery, attempt = await only_attempt(world)
    assert (delivery.state, delivery.last_class) == ("pending", "body")
    assert attempt.error_class == "body"


async def test_an_attempt_whose_row_is_refused_altogether_is_reported(world: World):
    """If not even the bare record can be written, the lease lapses, and the log says why."""
    await owe(world)
    await world.rows("ALTER TABLE attempt ADD CONSTRAINT none CHECK (false) NOT VALID")
    try:
        await world.deliver()
    finally:
        await world.rows("ALTER TABLE attempt DROP CONSTRAINT none")
    reported: list[Any] = [failure["exception"] for failure in world.failures]
    world.failures.clear()
    assert len(reported) == 2
    (row,) = await world.deliveries()
    assert (row.state, row.lease_token is not None) == ("pending", True)
    await world.pass_time(60)
    assert await world.deliver() == 1
    assert [row.state for row in await world.deliveries()] == ["delivered"]
