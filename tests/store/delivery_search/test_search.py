"""Whichever index is used, the page is the same as that of a check of each delivery."""

import itertools
import random
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store.database import AnyRow, Tx
from gateway.store.delivery_search import log
from gateway.store.delivery_search.filter import ALL_TENANTS, DeliveryFilter
from gateway.store.work import settlement
from gateway.store.work.settlement import NewDelivery, NewEvent
from tests.builders import add_tenant, id_at

ENDPOINTS = (uuid7(), uuid7())
STATES = ("pending", "delivered", "exhausted", "parked")
TYPES = ("job.succeeded", "job.failed", "test.ping")
CLASSES = ("dns", "timeout", "http_4xx", "http_5xx", None)
COUNT = 150


async def lay_out(tx: Tx, chance: random.Random) -> list[AnyRow]:
    """Add deliveries of two tenants, most of them of the usual type; returns the first tenant's, newest first."""
    now = (await tx.one("SELECT now()"))[0]
    tenants = [await add_tenant(tx) for _ in range(2)]
    for place in range(COUNT):
        tenant = chance.choice(tenants)
        kind = chance.choice((*TYPES, "job.succeeded", "job.succeeded"))
        event = NewEvent(uuid7(), tenant, None, kind, "{}")
        await settlement.add_events(tx, [event])
        endpoint = chance.choice((*ENDPOINTS, None))
        state = chance.choice((*STATES, "delivered", "delivered"))
        made = id_at(now - timedelta(minutes=chance.randrange(COUNT * 9), seconds=place % 60))
        url = None if endpoint else "https://own.example/x"
        owed = NewDelivery(
            made, tenant, event.id, None, endpoint, url, endpoint or uuid7(), state, kind
        )
        await settlement.add_deliveries(tx, [owed])
        klass = chance.choice(CLASSES)
        status = {"http_4xx": chance.choice((404, 422)), "http_5xx": 503}.get(klass or "")
        sql = "UPDATE delivery SET last_class = $2, last_status = $3 WHERE id = $1"
        await tx.run(sql, made, klass, status)
    sql = "SELECT * FROM delivery WHERE tenant_id = $1 ORDER BY id DESC"
    return list(await tx.rows(sql, tenants[0]))


def is_wanted(row: AnyRow, wanted: DeliveryFilter, before: UUID | None) -> bool:
    outcome = row.last_class in wanted.outcomes or (
        "delivered" in wanted.outcomes and row.state == "delivered"
    )
    return (
        (not wanted.endpoints or row.endpoint_id in wanted.endpoints)
        and (not wanted.states or row.state in wanted.states)
        and (not wanted.events or row.type in wanted.events)
        and (not wanted.outcomes or outcome)
        and (not wanted.statuses or row.last_status in wanted.statuses)
        and not (wanted.callbacks and row.endpoint_id)
        and (before is None or row.id < before)
    )


@pytest.mark.parametrize("seed", range(2))
async def test_every_filter_finds_the_deliveries_that_match_it(tx: Tx, seed: int) -> None:
    chance = random.Random(seed)
    rows = await lay_out(tx, chance)

    def some(*values: Any) -> list[tuple[Any, ...]]:
        return [(), *((one,) for one in values), values, tuple(chance.sample(values, 2)) * 2]

    choices = itertools.product(
        some(*ENDPOINTS), some(*STATES), some(*TYPES), some("dns", "timeout", "delivered")
    )
    for endpoints, states, events, classes in chance.sample(list(choices), 120):
        wanted = DeliveryFilter(
            rows[0].tenant_id, endpoints, states, events=events, outcomes=classes
        )
        before = chance.choice([None, chance.choice(rows).id])
        expected = [row.id for row in rows if is_wanted(row, wanted, before)]
        limit = chance.choice([1, 5, COUNT])
        found = await log.page(tx, wanted, before=before, limit=limit)
        assert [one.id for one in found] == expected[:limit], wanted


async def test_the_type_of_the_event_is_looked_up_if_it_is_not_given(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    event = NewEvent(uuid7(), tenant, None, "job.deleted", "{}")
    await settlement.add_events(tx, [event])
    lane = uuid7()
    owed = NewDelivery(uuid7(), tenant, event.id, None, lane, None, lane, "pending")
    await settlement.add_deliveries(tx, [owed])
    wanted = DeliveryFilter(tenant, events=("job.deleted",))
    (found,) = await log.page(tx, wanted, before=None, limit=9)
    assert (found.id, found.event_type) == (owed.id, "job.deleted")


@pytest.mark.parametrize("seed", range(2))
async def test_statuses_callbacks_and_all_tenants_find_what_matches(tx: Tx, seed: int) -> None:
    chance = random.Random(seed)
    own = (await lay_out(tx, chance))[0].tenant_id
    rows = list(await tx.rows("SELECT * FROM delivery ORDER BY id DESC"))
    choices = itertools.product(
        (own, ALL_TENANTS),
        ((), ("exhausted",), ("delivered",), ("pending", "parked")),
        ((), ("http_4xx",), ("delivered", "dns")),
        ((), (404,), (404, 503)),
        (False, True),
    )
    for tenant, states, classes, statuses, callbacks in choices:
        wanted = DeliveryFilter(
            tenant, (), states, outcomes=classes, statuses=statuses, callbacks=callbacks
        )
        before = chance.choice([None, chance.choice(rows).id])
        visible = [row for row in rows if tenant in (ALL_TENANTS, row.tenant_id)]
        expected = [row.id for row in visible if is_wanted(row, wanted, before)]
        limit = chance.choice([1, 5, COUNT])
        found = await log.page(tx, wanted, before=before, limit=limit)
        assert [one.id for one in found] == expected[:limit], wanted


async def test_the_id_of_all_tenants_is_nobodys_under_row_security(tx: Tx) -> None:
    await lay_out(tx, random.Random(0))
    sql = (
        "SELECT set_config('role', 'gateway_tenant', true),"
        f" set_config('gateway.tenants', '{ALL_TENANTS.hex}', true)"
    )
    await tx.rows(sql)
    assert await log.page(tx, DeliveryFilter(ALL_TENANTS), before=None, limit=9) == []
