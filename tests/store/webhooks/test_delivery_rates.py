"""Endpoints with caps: locked before a claim, so that all claimers together keep the caps."""

from collections import Counter
from uuid import UUID

import pytest

from gateway.store.database import Database, Tx
from gateway.store.webhooks import deliveries
from gateway.store.webhooks.deliveries import Capped
from tests.builders import add_deliveries, add_endpoint, add_tenant, claim_deliveries, put, row_of


async def limited(tx: Tx, rate: int, count: int) -> UUID:
    tenant = await add_tenant(tx)
    endpoint = await add_endpoint(tx, tenant, rate_limit=rate, concurrency=1000)
    await add_deliveries(tx, tenant, endpoint, count)
    return endpoint


async def held(tx: Tx) -> list[UUID]:
    return [one.id for one in await deliveries.hold_capped(tx)]


# --- Held ---------------------------------------------------------------------------------------


async def test_only_capped_endpoints_with_due_deliveries_are_locked(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    rate = await add_endpoint(tx, tenant, rate_limit=1)
    own = await add_endpoint(tx, tenant, concurrency=1)
    plain, idle = await add_endpoint(tx, tenant), await add_endpoint(tx, tenant, rate_limit=1)
    for endpoint in (rate, own, plain):
        await add_deliveries(tx, tenant, endpoint)
    (later,) = await add_deliveries(tx, tenant, idle)
    await put(tx, "delivery", later, next_at=0.001)
    await add_deliveries(tx, tenant, idle, state="parked")
    assert await held(tx) == [rate, own]
    for away in ("disabled_at", "deleted_at"):
        await put(tx, "endpoint", rate, **{away: 0})
        assert await held(tx) == [own]
        await put(tx, "endpoint", rate, **{away: None})
    await put(tx, "endpoint", own, paused_until=0.001)
    assert await held(tx) == [rate]
    await put(tx, "endpoint", own, paused_until=0)
    assert await held(tx) == [rate, own]


async def test_an_endpoint_that_is_not_locked_is_not_claimed_and_blocks_no_other(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    endpoints = [
        await add_endpoint(tx, tenant, **caps)
        for caps in ({}, {"rate_limit": 90}, {"concurrency": 9})
    ]
    for endpoint in endpoints:
        await add_deliveries(tx, tenant, endpoint, 2)
    how = {"ahead": 9, "free": 20, "lease": 30.0, "suspicious": 2, "token": tenant}
    for mine, expected in (((), endpoints[0]), (endpoints[1:2], endpoints[1])):
        claimed = await deliveries.claim(tx, 9, **how, held=mine)
        assert Counter(one.endpoint_id for one in claimed) == {expected: 2}


async def test_a_second_claimer_locks_nothing_and_then_sees_what_the_first_took(
    db: Database,
) -> None:
    async with db.begin() as tx:
        tenant = await add_tenant(tx)
        endpoint = await add_endpoint(tx, tenant, concurrency=3)
        await add_deliveries(tx, tenant, endpoint, 9)
    async with db.begin() as second:
        async with db.begin() as first:
            assert len(await claim_deliveries(first, 2)) == 2
            assert await held(second) == []
        assert await held(second) == [endpoint]
        assert len(await claim_deliveries(second)) == 1


@pytest.mark.parametrize(
    ("tokens", "rate", "wait"),
    [
        (5.0, 10, 0.1),
        (1.0, 10, 0.1),
        (0.4, 10, 0.06),
        (0.0, 10, 0.1),
        (0.75, 1, 0.25),
        (-9.0, 10, 1.0),
    ],
)
async def test_a_rate_says_when_the_next_token_comes(
    tx: Tx, tokens: float, rate: int, wait: float
) -> None:
    endpoint = await limited(tx, rate, 1)
    await put(tx, "endpoint", endpoint, tokens=tokens, tokens_at=0)
    (one,) = await deliveries.hold_capped(tx)
    assert (one.id, one.rate_limit) == (endpoint, rate)
    assert one.wait == pytest.approx(wait)


async def test_without_a_rate_nobody_waits_for_tokens(tx: Tx) -> None:
    endpoint = await limited(tx, 1, 1)
    await put(tx, "endpoint", endpoint, rate_limit=None)
    (one,) = await deliveries.hold_capped(tx)
    assert (one.id, one.rate_limit, one.wait) == (endpoint, None, None)
    assert Capped(endpoint, 4, None).wait == 0.25


# --- The rate -----------------------------------------------------------------------------------


async def test_a_rate_allows_a_burst_of_a_tenth_of_a_second(
    tx: Tx,
) -> None:
    endpoint = await limited(tx, 100, 60)
    assert len(await claim_deliveries(tx)) == 10
    assert await claim_deliveries(tx) == []
    for seconds, more in ((0.009, 0), (0.001, 1), (0.055, 5), (0.005, 1), (0.0999, 9), (600.0, 10)):
        row = await row_of(tx, "endpoint", endpoint)
        spent = (row.now - row.tokens_at).total_seconds()
        await put(tx, "endpoint", endpoint, tokens_at=-spent - seconds)
        assert len(await claim_deliveries(tx)) == more, seconds
        assert await claim_deliveries(tx) == []


async def test_a_claim_leaves_the_tokens_that_it_does_not_use(tx: Tx) -> None:
    endpoint = await limited(tx, 100, 60)
    assert len(await claim_deliveries(tx, 4)) == 4
    assert (await row_of(tx, "endpoint", endpoint)).tokens == 6.0
    assert len(await claim_deliveries(tx)) == 6


async def test_an_empty_claim_spends_no_token(tx: Tx) -> None:
    endpoint = await limited(tx, 10, 1)
    await tx.run("UPDATE delivery SET next_at = now() + interval '1 hour'")
    before = await row_of(tx, "endpoint", endpoint)
    assert await claim_deliveries(tx) == []
    assert await row_of(tx, "endpoint", endpoint) == before


async def test_a_rate_holds_back_only_its_own_endpoint(tx: Tx) -> None:
    slow, fast, free = await limited(tx, 1, 5), await limited(tx, 30, 5), await limited(tx, 20, 5)
    await put(tx, "endpoint", free, rate_limit=None)
    claimed = Counter(one.endpoint_id for one in await claim_deliveries(tx))
    assert claimed == {slow: 1, fast: 3, free: 5}


async def test_the_lower_of_rate_and_concurrency_counts(tx: Tx) -> None:
    endpoint = await limited(tx, 100, 60)
    await put(tx, "endpoint", endpoint, concurrency=4)
    assert len(await claim_deliveries(tx)) == 4
    await tx.run("UPDATE delivery SET state = 'delivered' WHERE lease_token IS NOT NULL")
    await put(tx, "endpoint", endpoint, concurrency=1000)
    assert len(await claim_deliveries(tx)) == 6


async def test_two_claimers_do_not_spend_a_token_twice(db: Database) -> None:
    async with db.begin() as tx:
        endpoint = await limited(tx, 100, 60)
    async with db.begin() as one, db.begin() as other:
        first = await claim_deliveries(one, 7)
        # What the first claim leaves is unknown until it commits, so the second one takes nothing.
        assert await claim_deliveries(other) == []
    async with db.begin() as tx:
        before = await row_of(tx, "endpoint", endpoint)
        left = 3.0 + 100.0 * (before.now - before.tokens_at).total_seconds()
        assert (before.tokens, len(first)) == (3.0, 7)
        assert len(await claim_deliveries(tx)) == min(int(left), 10)


async def test_a_rolled_back_claim_gives_its_tokens_back(db: Database) -> None:
    async with db.begin() as tx:
        await limited(tx, 100, 60)

    async def die() -> None:
        async with db.begin() as tx:
            assert len(await claim_deliveries(tx)) == 10
            raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        await die()
    async with db.begin() as tx:
        assert len(await claim_deliveries(tx)) == 10
