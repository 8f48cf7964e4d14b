"""Deliveries that cannot be signed, are over a limit, or kill their sender: the others go on."""

from collections.abc import Sequence
from typing import Any

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.model import Tenant
from gateway.flows.process.slots import Slots
from tests.flows.fakes import Gate
from tests.flows.scenes import OTHER, endpoint_row, owe, owe_rows
from tests.flows.world import HOOK, World

UNSIGNED = "no master key opens the secrets of this receiver"


async def limited(world: World, count: int, **wanted: Any) -> Tenant:
    tenant = await world.tenant(credential=False)
    endpoint_id = await world.endpoint(tenant, HOOK, **wanted)
    await owe_rows(world, tenant, endpoint_id, count, "pending")
    world.queue.wakes.clear()
    return tenant


# --- Rate -------------------------------------------------------------------------------------------


async def spend(world: World) -> None:
    """Let no token be left, however long this test has taken."""
    await world.run("UPDATE endpoint SET tokens = 0, tokens_at = now() + interval '1 hour'")


async def test_an_endpoints_rate_holds_for_all_processes_together(world: World):
    await limited(world, 60, rate_limit=100)
    beside = world.other_process(slots=Slots(world.clock))
    assert await world.deliver() == 10, "a tenth of a second's worth at once"
    await spend(world)
    assert (await world.deliver(), await beside.deliver()) == (0, 0)
    await world.run("UPDATE endpoint SET tokens = 3.5, tokens_at = now()")
    taken = await world.deliver() + await beside.deliver()
    spent = await endpoint_row(world)
    assert taken >= 3
    assert 0.0 <= spent.tokens < 1.0
    assert len(world.sender.sent) == 10 + taken


async def test_a_delivery_over_its_rate_limit_is_woken_when_the_bucket_has_a_token(world: World):
    await limited(world, 3, rate_limit=2)
    assert await world.deliver(1) == 1
    assert world.queue.wakes == [("deliver", 0.5)]


async def test_a_slow_rate_is_woken_for_also_beside_a_fast_one(world: World):
    tenant = await limited(world, 3, rate_limit=1)
    fast = await world.endpoint(tenant, OTHER, rate_limit=100)
    await owe_rows(world, tenant, fast, 3, "pending")
    assert await world.deliver() == 4
    assert world.queue.wakes == [("deliver", 0.01)]
    await world.run("UPDATE endpoint SET tokens = -9, tokens_at = now() WHERE url = $1", HOOK)
    assert await world.deliver() == 0, "the fast one's wake finds nothing"
    ((verb, after),) = world.queue.wakes[1:]
    assert (verb, 1.0 < after <= 10.0) == ("deliver", True), "and is passed on to the slow one"


async def test_a_delivery_that_is_woken_before_its_token_is_woken_again(world: World):
    await limited(world, 3, rate_limit=2)
    await spend(world)
    assert await world.deliver() == 0
    assert world.queue.wakes != []


async def test_an_endpoints_concurrency_is_its_own(world: World):
    await limited(world, 5, concurrency=2)
    world.sender.gate = held = Gate()
    assert await world.deliverer.claim(100) == 2
    assert await world.deliverer.claim(100) == 0
    held.open.set()
    await world.idle()
    world.sender.gate = None
    assert await world.deliver() == 2


# --- What cannot be signed --------------------------------------------------------------------------


async def test_a_delivery_that_no_key_can_sign_waits_uncounted_and_says_why(world: World):
    await owe(world, 2)
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    assert await blind.deliver() == 2
    for row in await world.deliveries():
        assert (row.state, row.attempts, row.strikes, row.lease_token) == ("pending", 0, 0, None)
        assert row.last_error == UNSIGNED
        assert 10 < row.due_in <= 15
    assert world.sender.sent == []
    await world.pass_time(61)
    assert await world.deliver() == 2


async def test_headers_that_cannot_be_opened_hold_up_their_own_endpoint_only(world: World):
    """As with a secret: nothing is counted, and nothing is given up, until the key is back."""
    tenant = await limited(world, 1, headers={"X-Key": "s3cr3t"})
    other = await world.endpoint(tenant, OTHER)
    sealed = (await endpoint_row(world)).headers_sealed
    await world.run("UPDATE endpoint SET headers_sealed = '\\x00' WHERE url = $1", HOOK)
    await owe_rows(world, tenant, other, 1, "pending")
    for _ in range(6):
        await world.deliver()
        await world.pass_time(61)
    assert len(world.sender.to(OTHER)) == 1
    (row,) = [row for row in await world.deliveries() if row.state != "delivered"]
    assert (row.state, row.attempts, row.strikes) == ("pending", 0, 0)
    assert row.last_error == UNSIGNED
    await world.run("UPDATE endpoint SET headers_sealed = $1 WHERE url = $2", sealed, HOOK)
    assert await world.deliver() == 1
    assert dict(world.sender.to(HOOK)[0].headers)["x-key"] == "s3cr3t"


# --- What brings processes down ---------------------------------------------------------------------


def breaks(world: World, *urls: str) -> None:
    """Have the sender break down at these URLs."""
    real = world.sender.send

    async def send(webhook: Any, within: float | None = None) -> Any:
        if webhook.url in urls:
            raise ZeroDivisionError(webhook.url)
        return await real(webhook, within)

    world.sender.send = send


def reported(world: World) -> Sequence[str]:
    kinds = [type(failure["exception"]).__name__ for failure in world.failures]
    world.failures.clear()
    return kinds


async def test_a_delivery_that_breaks_its_sender_is_put_off_and_the_others_go_on(world: World):
    tenant = await limited(world, 1)
    await owe_rows(world, tenant, await world.endpoint(tenant, OTHER), 2, "pending")
    breaks(world, HOOK)
    assert await world.deliver() == 3
    assert reported(world) == ["ZeroDivisionError"]
    assert len(world.sender.to(OTHER)) == 2
    (row,) = [row for row in await world.deliveries() if row.state == "pending"]
    assert (row.attempts, row.strikes, row.lease_token) == (1, 1, None)
    assert row.last_error == "the gateway broke down: ZeroDivisionError"
    assert 0 < row.due_in <= 5


async def test_a_suspect_is_sent_alone_and_cleared_by_an_outcome(world: World):
    tenant = await limited(world, 1)
    await owe_rows(world, tenant, await world.endpoint(tenant, OTHER), 1, "pending")
    assert not await world.deliverer.claim_quarantined()
    await world.run(
        "UPDATE delivery SET strikes = 2 WHERE lane = (SELECT id FROM endpoint LIMIT 1)"
    )
    assert await world.deliver() == 1, "only the other"
    assert await world.deliverer.claim_quarantined()
    await world.idle()
    rows = await world.deliveries()
    assert {(row.state, row.strikes) for row in rows} == {("delivered", 0)}
    assert not await world.deliverer.claim_quarantined()


async def test_a_suspect_waits_until_nothing_else_is_under_way(world: World):
    tenant = await limited(world, 1)
    other = await world.endpoint(tenant, OTHER)
    await world.run("UPDATE delivery SET strikes = 2")
    await owe_rows(world, tenant, other, 1, "pending")
    order: list[str] = []

    async def note() -> None:
        order.append(world.sender.sent[-1].url)

    world.sender.gate = note
    assert await world.deliverer.claim(10) == 1
    assert await world.deliverer.claim_quarantined()
    await world.idle()
    assert order == [OTHER, HOOK]


async def test_a_delivery_that_breaks_its_sender_again_and_again_is_a_dead_letter(world: World):
    await limited(world, 1)
    breaks(world, HOOK)
    assert await world.deliver() == 1
    await world.pass_time(6)
    assert await world.deliver() == 1
    for _ in range(3):
        await world.pass_time(6)
        assert await world.deliverer.claim_quarantined()
        await world.idle()
    await world.pass_time(6)
    assert not await world.deliverer.claim_quarantined()
    assert reported(world) == ["ZeroDivisionError"] * 5
    (row,) = await world.deliveries()
    assert (row.state, row.attempts) == ("parked", 5)
    assert row.last_error.startswith("the gateway broke down 5 times")


# --- What is away -----------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["disabled_at", "deleted_at"])
async def test_an_endpoint_that_went_away_without_notice_is_sent_nothing(world: World, column: str):
    """Its deliveries were stored in the same moment; the sweep puts them away."""
    await limited(world, 2)
    await world.run(f"UPDATE endpoint SET {column} = now()")
    assert await world.deliver() == 0
    assert {row.state for row in await world.deliveries()} == {"pending"}
