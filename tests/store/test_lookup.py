"""Look-ups for the search box: what each one finds, and that it reads through an index."""

import json
import os
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from gateway.store import lookup
from gateway.store.database import Tx
from gateway.store.job_search.search import keep_to_indexes
from gateway.store.statement import Query
from tests.builders import add_deliveries, add_endpoint, add_jobs, add_submitted, add_tenant, put

MANY = 20


async def credentials(tx: Tx) -> list[UUID]:
    return await lookup.credentials_of(tx, None)


async def test_a_job_is_found_by_its_id_and_by_the_beginning_of_it(tx: Tx) -> None:
    mine, theirs = await add_tenant(tx), await add_tenant(tx)
    (job,) = await add_jobs(tx, mine)
    last = UUID(int=job.int | 0xFFFF)
    first = UUID(int=job.int & ~0xFFFF)
    for tenants in (None, [mine], [mine, theirs]):
        (found,) = await lookup.by_id(tx, job, tenants, MANY)
        assert (found.kind, found.id) == ("job", str(job))
        assert [found] == await lookup.jobs_between(tx, first, last, tenants, MANY)
    assert await lookup.by_id(tx, job, [theirs], MANY) == []
    assert await lookup.jobs_between(tx, first, last, [theirs], MANY) == []


async def test_the_newest_of_many_jobs_are_found(tx: Tx) -> None:
    tenant = await add_tenant(tx)
    ids = sorted(await add_jobs(tx, tenant, 5))
    for tenants in (None, [tenant]):
        found = await lookup.jobs_between(tx, ids[0], ids[-1], tenants, 3)
        assert [one.id for one in found] == [str(one) for one in reversed(ids[2:])]


async def test_an_event_leads_to_itself_and_to_its_deliveries(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    (delivery, *_) = await add_deliveries(tx, tenant, await add_endpoint(tx, tenant), 2)
    event = (await tx.one("SELECT event_id FROM delivery WHERE id = $1", delivery))[0]
    found = await lookup.by_id(tx, event, [tenant], MANY)
    assert {(one.kind, one.id) for one in found} == {
        ("event", str(event)),
        ("delivery", str(delivery)),
    }
    assert [one.kind for one in await lookup.by_id(tx, delivery, None, MANY)] == ["delivery"]
    assert await lookup.by_id(tx, event, [other], MANY) == []
    assert await lookup.by_id(tx, delivery, [other], MANY) == []


async def test_a_job_is_found_by_its_upstream_id_before_and_after_its_end(tx: Tx) -> None:
    tenant, other = await add_tenant(tx), await add_tenant(tx)
    (job,) = await add_submitted(tx, tenant)
    upstream = f"up-{uuid4()}"
    await put(tx, "job", job, upstream_id=upstream)
    known = await credentials(tx)
    for state, completed in (("submitted", None), ("running", None), ("succeeded", 0)):
        await put(tx, "job", job, state=state, completed_at=completed)
        (found,) = await lookup.by_upstream_id(tx, upstream, known, [tenant], MANY)
        assert found.id == str(job)
        assert found.label.endswith(f" · {state}")
        assert await lookup.by_upstream_id(tx, upstream, known, None, MANY) == [found]
        assert await lookup.by_upstream_id(tx, upstream, known, [other], MANY) == []
    await put(tx, "job", job, deleted_at=0)
    assert await lookup.by_upstream_id(tx, upstream, known, None, MANY) == []


async def test_names_of_two_tenants_are_kept_apart(tx: Tx) -> None:
    mine, theirs = await add_tenant(tx), await add_tenant(tx)
    named: dict[str, Any] = {"idempotency_key": "order-4711", "request_hash": b"h"}
    (job,) = await add_jobs(tx, mine, **named)
    (other,) = await add_jobs(tx, theirs, **named)
    await add_jobs(tx, mine, 30, batch_name="nightly")
    await add_jobs(tx, theirs, batch_name="nightly")
    assert [one.id for one in await lookup.by_name(tx, "order-4711", [mine], MANY)] == [str(job)]
    both = await lookup.by_name(tx, "order-4711", None, MANY)
    assert {one.id for one in both} == {str(job), str(other)}
    batches = await lookup.by_name(tx, "nightly", None, MANY)
    assert [(one.kind, one.id) for one in batches] == [("batch", "nightly")] * 2
    assert len({one.tenant for one in batches}) == 2
    assert len(await lookup.by_name(tx, "nightly", [mine], MANY)) == 1
    assert await lookup.by_name(tx, "night", None, MANY) == []


async def test_tenants_are_found_by_the_beginning_of_their_slug(tx: Tx) -> None:
    slugs = ("acme", "acme-2", "acmeb", "acm", "b-acme")
    for slug in slugs:
        await put(tx, "tenant", await add_tenant(tx), slug=slug)
    found = await lookup.tenants_from(tx, "acme", MANY)
    assert [one.id for one in found] == ["acme", "acme-2", "acmeb"]
    assert [one.id for one in await lookup.tenants_from(tx, "acme", 1)] == ["acme"]
    assert await lookup.tenants_from(tx, "z", MANY) == []


QUERIES = {
    name: query
    for name, query in vars(lookup).items()
    if isinstance(query, (Query, lookup.Statement))
}
_ARGUMENTS: dict[str, Any] = {
    "id": uuid7(),
    "first": UUID(int=0),
    "last": UUID(int=2**128 - 1),
    "text": "order-4711",
    "credentials": [uuid7()],
    "tenants": None,
    "limit": MANY,
}
# How many credentials there are grows with the tenants, not with the jobs.
_READ_WHOLE = {"_CREDENTIALS": "credential", "_BATCHES": "tenant", "_BY_IDEMPOTENCY_KEY": "tenant"}


@pytest.mark.skipif(
    "GATEWAY_TEST_PARTITIONS" in os.environ, reason="partitions without rows are read whole"
)
@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("all_tenants", [True, False])
async def test_each_lookup_reads_through_an_index(tx: Tx, name: str, all_tenants: bool) -> None:
    query = QUERIES[name]
    statement = query.statement if isinstance(query, Query) else query
    tenants = None if all_tenants else [uuid7()]
    if name == "_JOBS_BETWEEN":
        tenants = [uuid7()]
    given = {**_ARGUMENTS, "tenants": tenants}
    arguments = statement.arguments({one: given[one] for one in statement.names})
    await keep_to_indexes(tx)
    await tx.rows("SELECT set_config('plan_cache_mode', 'force_generic_plan', true)")
    row = await tx.one(f"EXPLAIN (FORMAT JSON) {statement.sql}", *arguments)
    plan = json.loads(row[0])[0]["Plan"]
    whole = {one["Relation Name"] for one in nodes(plan) if one["Node Type"] == "Seq Scan"}
    unbound = {
        one["Relation Name"]
        for one in nodes(plan)
        if one["Node Type"].startswith("Index") and "Index Cond" not in one
    }
    assert (whole | unbound) - {_READ_WHOLE.get(name)} == set()


def nodes(plan: Any) -> list[Any]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]
