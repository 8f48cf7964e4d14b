"""Pruning drops the rows that are older than their tenant keeps them, and no others."""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.core.lifecycle import expired
from gateway.core.model import Limits, Tenant
from gateway.core.policy import Policy
from gateway.flows.admin.tenants import delete_tenant
from gateway.flows.bulk.jobs import cancel_jobs
from gateway.flows.deliver.resend import resend_delivery
from gateway.flows.maintain.prune import EVERY_SECONDS, prune_now, prune_some
from gateway.flows.maintain.sweep import sweep
from gateway.flows.process.slots import Slots
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.job_search.filter import JobFilter
from gateway.store.retention.prune import KINDS
from gateway.store.tenancy import sessions
from gateway.store.work import jobs
from tests.builders import add_event, id_at, new_job, session_of
from tests.flows.scenes import attempts, check, secret_of
from tests.flows.world import HOOK, World

DAY = 86_400.0
TABLES = ("job", "job_event", "event", "delivery", "attempt")


async def counts(world: World) -> dict[str, int]:
    return {name: await world.value(f"SELECT count(*) FROM {name}") for name in TABLES}


def later(world: World, days: float, grace: int = 0, **keep: int) -> World:
    """A process that many days from now, which keeps things that long, and jobs by month for `grace` days more."""
    world.clock.ahead = days * DAY
    kept = {"payloads": 0, "jobs": 0, "attempts": 0, "events": 0} | keep
    return world.other_process(policy=Policy(keep_days=kept, month_grace_days=grace))


def batched(world: World, batch: int, ahead: int = 20) -> World:
    """A process that prunes in batches of that size."""
    policy = replace(world.deps.policy, prune_batch=batch, prune_ahead=ahead)
    return world.other_process(policy=policy)


async def lived(world: World, count: int = 1, slug: str = "acme", **limits: int) -> Tenant:
    """A tenant with jobs that succeeded and were told of."""
    tenant = await world.tenant(slug, hook=HOOK, limits=Limits(**limits))
    await world.accept(tenant, count)
    while await world.submit():
        pass
    world.upstream.move("SUCCEEDED", result='{"url":"https://a.example/result"}')
    await world.poll_soon()
    await world.run("UPDATE credential SET poll_at = NULL")
    while await world.deliver():
        pass
    return tenant


async def aged(world: World, tenant: Tenant, *days: float) -> list[UUID]:
    """Jobs that were accepted that many days ago and have expired, each with its event."""
    at = [world.clock.now() - timedelta(days=one) for one in days]
    new = [new_job(tenant.id, id=id_at(one), params='{"in":1}') for one in at]
    async with world.deps.db.begin() as tx:
        await jobs.insert(tx, new)
        await settle(tx, world.deps, [ending(job.id, expired()) for job in new])
        for job, one in zip(new, at, strict=True):
            await tx.run("UPDATE event SET created_at = $2 WHERE job_id = $1", job.id, one)
    return [job.id for job in new]


async def kept(world: World, table: str = "job") -> list[UUID]:
    return [row.id for row in await world.rows(f"SELECT id FROM {table} ORDER BY id")]


# --- What goes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "gone"),
    [
        ("jobs", {"job": 3, "job_event": 3}),
        ("attempts", {"attempt": 3}),
        ("events", {"event": 3, "delivery": 3, "attempt": 3}),
        ("payloads", {}),
    ],
)
async def test_each_kind_goes_once_it_is_old(world: World, kind: str, gone: dict[str, int]):
    await lived(world, 3)
    await world.run(
        "INSERT INTO job_event (id, tenant_id, job_id, type, detail)"
        " SELECT gen_random_uuid(), tenant_id, id, 'submit.repeated', '' FROM job"
    )
    before = await counts(world)
    assert set(before.values()) == {3}
    assert await prune_now(later(world, 9.9, **{kind: 10}).deps) == {"acme": Counter()}
    assert await counts(world) == before
    rows = 6 if kind == "payloads" else 3  # the bodies of webhooks hold payloads too
    assert await prune_now(later(world, 10.1, **{kind: 10}).deps) == {"acme": Counter({kind: rows})}
    assert await counts(world) == {name: n - gone.get(name, 0) for name, n in before.items()}
    assert await prune_now(later(world, 20, **{kind: 10}).deps) == {"acme": Counter()}


async def test_younger_rows_stay(world: World):
    tenant = await world.tenant()
    ids = await aged(world, tenant, 12, 10.01, 9.99, 1)
    assert await prune_now(later(world, 0, jobs=10, events=11).deps) == {
        "acme": Counter(jobs=2, events=1)
    }
    assert await kept(world) == ids[2:]
    assert {event.job_id for event in await world.events()} == set(ids[1:])


async def test_payloads_go_and_their_webhooks_can_be_sent_again(world: World):
    tenant = await lived(world, 2)
    (job, other) = await world.rows("SELECT * FROM job ORDER BY id")
    dropped = await prune_now(later(world, 11, payloads=10).deps)
    assert dropped == {"acme": Counter(payloads=4)}
    after = await world.job(job.id)
    assert (after.params, after.result, after.version) == ("{}", None, job.version + 1)
    assert (after.state, after.metadata, after.error) == ("succeeded", job.metadata, job.error)
    world.clock.ahead = 0.0
    world.sender.sent.clear()
    (delivery, _) = await world.deliveries()
    await resend_delivery(world.deps, tenant.id, delivery.id)
    assert await world.deliver() == 1
    (webhook,) = world.sender.sent
    body = json.loads(webhook.body)
    assert body["type"] == "job.succeeded"
    assert body["data"] == {"id": str(delivery.job_id), "truncated": True}
    assert delivery.job_id in (job.id, other.id)
    datetime.fromisoformat(body["timestamp"])
    check(webhook, await secret_of(world, delivery.endpoint_id, tenant))


# --- What stays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["accepted", "submitting", "submitted", "running"])
async def test_no_job_from_the_time_of_an_open_one_on_is_pruned(world: World, state: str):
    tenant, other = await world.tenant(), await world.tenant("other")
    first, open_one, last = await aged(world, tenant, 30, 20, 15)
    await aged(world, other, 15)
    await world.run("UPDATE job SET state = $1 WHERE id = $2", state, open_one)
    process = later(world, 0, jobs=10, events=10)
    assert await prune_now(process.deps) == {
        "acme": Counter(jobs=1, events=3),
        "other": Counter(jobs=1, events=1),
    }
    assert await kept(world) == [open_one, last]
    await world.run("UPDATE job SET state = 'expired'")
    assert (await prune_now(process.deps))["acme"] == Counter(jobs=2)
    assert first


async def test_an_event_with_an_open_delivery_is_kept(world: World):
    await lived(world, 1)
    await world.ended(await world.tenant("other", hook="https://other.example.com"))
    process = later(world, 50, events=10)
    assert await prune_now(process.deps) == {"acme": Counter(events=1), "other": Counter()}
    (waiting,) = await world.deliveries()
    assert waiting.state == "pending"
    assert await world.deliver() == 1
    assert len(await attempts(world)) == 1


async def test_a_policy_of_zero_days_keeps_things_for_good(world: World):
    own = await lived(world, 1, keep_jobs=0, keep_events=3)
    await lived(world, 1, "other")
    process = later(world, 3000, jobs=10, events=0)
    assert await prune_now(process.deps) == {"acme": Counter(events=1), "other": Counter(jobs=1)}
    assert [row.tenant_id for row in await world.rows("SELECT tenant_id FROM job")] == [own.id]


async def test_a_tenants_own_policy_goes_before_the_gateways(world: World):
    for slug, limits in (("long", {"keep_jobs": 30}), ("short", {"keep_jobs": 5}), ("usual", {})):
        await aged(world, await world.tenant(slug, limits=Limits(**limits)), 40, 20, 7)
    assert await prune_now(later(world, 0, jobs=10).deps) == {
        "long": Counter(jobs=1),
        "short": Counter(jobs=3),
        "usual": Counter(jobs=2),
    }


@pytest.mark.parametrize(("days", "kind"), [(29, None), (31, "attempts"), (91, "events")])
async def test_the_usual_policy_drops_attempts_and_events_only(
    world: World, days: float, kind: str | None
):
    await lived(world, 1)
    world.clock.ahead = days * DAY
    (dropped,) = (await prune_now(world.deps)).values()
    assert set(dropped) == ({"attempts", "events"} if kind == "events" else {kind} - {None})
    assert len(await kept(world)) == 1


# --- How it goes on ------------------------------------------------------------------------------


async def test_a_dry_run_only_counts(world: World):
    tenant = await lived(world, 3)
    await aged(world, await world.tenant("other"), 2)
    process = later(world, 11, jobs=10, attempts=10, events=10)
    before = await counts(world)
    counted = await prune_now(process.deps, dry_run=True)
    assert counted == {
        "acme": Counter(jobs=3, attempts=3, events=3),
        "other": Counter(jobs=1, events=1),
    }
    assert await counts(world) == before
    assert await kept(world, "tenant")
    assert await world.value("SELECT count(*) FROM prune_cursor") == 0
    assert await world.value("SELECT count(pruned_at) FROM tenant") == 0
    dry = await prune_now(process.deps, tenant.slug, dry_run=True)
    assert dry == {"acme": counted["acme"]} == await prune_now(process.deps, tenant.slug)
    assert (await prune_now(process.deps, dry_run=True))["acme"] == Counter()
    assert await prune_now(process.deps, "nobody") == {}


async def test_it_goes_in_batches_and_takes_up_where_it_was(world: World):
    tenant = await world.tenant()
    ids = await aged(world, tenant, *(20 - n / 10 for n in range(5)))
    cursors: list[int] = []
    process = batched(later(world, 0, jobs=10), 2)
    assert (await prune_now(process.deps, dry_run=True))["acme"] == Counter(jobs=5)
    slept = world.clock.monotonic()

    def die(point: str) -> None:
        cursors.append(len(cursors))
        if point == "prune.committed":
            raise _DiedError

    with pytest.raises(_DiedError):
        await prune_now(process.other_process(crash_point=die).deps)
    assert await kept(world) == ids[2:]
    assert await world.value("SELECT cursor FROM prune_cursor WHERE kind = 'jobs'") == ids[1]
    assert (await prune_now(process.deps))["acme"] == Counter(jobs=3)
    assert world.clock.monotonic() > slept, "it rests between batches"
    assert await world.value("SELECT cursor FROM prune_cursor WHERE kind = 'jobs'") == ids[4]


class _DiedError(Exception):
    pass


async def test_it_stops_when_its_time_is_up_and_goes_on_later(world: World):
    for slug in ("a", "b"):
        await aged(world, await world.tenant(slug), *(20 - n / 10 for n in range(5)))
    process = batched(later(world, 0, jobs=10), 1)
    assert await prune_some(process.deps, 0.05) == Counter(jobs=3)
    assert await world.value("SELECT count(pruned_at) FROM tenant") == 0
    assert await prune_some(process.deps, 60.0) == Counter(jobs=7)
    assert await world.value("SELECT count(pruned_at) FROM tenant") == 2
    assert await prune_some(process.deps, 60.0) == Counter()


@pytest.mark.parametrize("reason", ["no time", "closing"])
async def test_no_tenant_is_begun_without_time(world: World, reason: str):
    await aged(world, await world.tenant(), 20)
    process = later(world, 0, jobs=10).other_process(
        slots=Slots(world.clock),
        policy=Policy(keep_days=dict.fromkeys(KINDS, 10), month_grace_days=0),
    )
    process.deps.slots.closing = reason == "closing"
    seconds = 60.0 if reason == "closing" else -1.0
    assert await prune_some(process.deps, seconds) == Counter()
    assert len(await kept(world)) == 1


async def test_each_tenant_has_its_turn_once_in_a_while(world: World):
    tenant = await world.tenant()
    process = later(world, 0, jobs=10)
    assert await prune_some(process.deps, 60.0) == Counter()
    await aged(world, tenant, 20)
    assert await prune_some(process.deps, 60.0) == Counter()
    seconds = EVERY_SECONDS + 1
    await world.run(f"UPDATE tenant SET pruned_at = pruned_at - interval '{seconds} seconds'")
    # What is older than the cursor was missed by it: a job of that age cannot come from nowhere.
    assert await prune_some(process.deps, 60.0) == Counter(jobs=1)


async def test_the_sweep_prunes(world: World):
    await aged(world, await world.tenant(), 20, 19)
    await sweep(later(world, 0, jobs=10).deps)
    ((_, told),) = world.seen("sweep")
    assert told["pruned"] == 2
    assert await kept(world) == []


# --- What must not be missed for good ------------------------------------------------------------


async def test_an_event_that_an_old_job_causes_late_is_pruned_too(world: World):
    tenant = await world.tenant()
    old, _ = await aged(world, tenant, 20, 15)
    assert (await prune_now(later(world, 0, events=10).deps))["acme"] == Counter(events=2)
    await delete_job(world.deps, tenant.id, old)
    assert await world.event_types(old) == ["job.deleted"]
    assert (await prune_now(later(world, 9, events=10).deps))["acme"] == Counter()
    assert (await prune_now(later(world, 11, events=10).deps))["acme"] == Counter(events=1)


async def test_a_payload_that_an_old_job_causes_late_is_pruned_too(world: World):
    tenant = await world.tenant()
    old, _ = await aged(world, tenant, 20, 15)
    await world.run("UPDATE job SET result = '{}'")
    process = later(world, 0, payloads=10)
    await prune_now(process.deps)
    async with world.deps.db.begin() as tx:
        text = '{"type":"job.deleted","timestamp":"","data":{"params":"secret"}}'
        await add_event(tx, tenant.id, "job.deleted", id=id_at(_at(old)), job_id=old, body=text)
    await prune_now(later(world, 50, payloads=10).deps)
    assert [e for e in await world.events(old) if "secret" in e.body] == []


def _at(id_: UUID) -> datetime:
    return datetime.fromtimestamp((id_.int >> 80) / 1000).astimezone()


async def test_attempts_of_a_replay_are_pruned_too(world: World):
    tenant = await lived(world, 1)
    assert await prune_now(later(world, 11, attempts=10).deps) == {"acme": Counter(attempts=1)}
    (delivery,) = await world.deliveries()
    await resend_delivery(world.deps, tenant.id, delivery.id)
    assert await world.deliver() == 1
    await prune_now(later(world, 50, attempts=10).deps)
    assert await attempts(world) == []


async def test_a_deleted_job_is_pruned_once_the_upstream_was_told(world: World):
    tenant = await world.tenant()
    (job_id,) = await world.at_upstream(tenant)
    other = await world.accept_one(tenant)
    await delete_job(world.deps, tenant.id, job_id)
    await delete_job(world.deps, tenant.id, other)
    await world.run("UPDATE job SET upstream_delete_at = now() WHERE id = $1", job_id)
    process = later(world, 11, jobs=10)
    await prune_now(process.deps)
    assert await kept(world) == [job_id]
    await world.run("UPDATE job SET upstream_delete_at = NULL")
    await prune_now(process.deps)
    assert await kept(world) == []


async def test_a_body_stays_the_same_until_the_last_attempt(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.ended(tenant)
    (event,) = await world.events()
    process = later(world, 11, payloads=10)
    assert await prune_now(process.deps) == {"acme": Counter(payloads=1)}
    assert [one.body for one in await world.events()] == [event.body]
    world.clock.ahead = 0.0
    assert await world.deliver() == 1
    process = later(world, 11, payloads=10)
    assert await prune_now(process.deps) == {"acme": Counter(payloads=1)}
    assert "truncated" in (await world.events())[0].body


async def test_a_round_looks_at_few_batches_behind_a_row_that_must_stay(world: World):
    tenant = await world.tenant()
    ids = await aged(world, tenant, *(20 - n / 10 for n in range(6)))
    await world.run("UPDATE job SET upstream_delete_at = now() WHERE id = $1", ids[1])
    process = batched(later(world, 0, jobs=10), 1, ahead=2)
    assert (await prune_now(process.deps))["acme"] == Counter(jobs=3)
    assert await kept(world) == [ids[1], *ids[4:]]
    assert await world.value("SELECT cursor FROM prune_cursor WHERE kind = 'jobs'") == ids[0]
    assert await world.value("SELECT count(pruned_at) FROM tenant") == 1
    assert (await prune_now(process.deps))["acme"] == Counter(jobs=2)
    await world.run("UPDATE job SET upstream_delete_at = NULL")
    assert (await prune_now(process.deps))["acme"] == Counter(jobs=1)
    assert await world.value("SELECT cursor FROM prune_cursor WHERE kind = 'jobs'") == ids[1]


async def test_a_tenant_with_bulk_operations_can_be_erased(world: World):
    tenant, other = await lived(world), await world.tenant("other")
    for one in (tenant, other):
        await cancel_jobs(world.deps, one.id, JobFilter(None))
    await prune_now(later(world, 11, jobs=10).deps)
    await delete_tenant(world.deps, "test", tenant.slug)
    for table in ("tenant", "bulk", "prune_cursor"):
        column = "id" if table == "tenant" else "tenant_id"
        assert (
            await world.value(f"SELECT count(*) FROM {table} WHERE {column} = $1", tenant.id) == 0
        )
    assert await world.value("SELECT count(*) FROM bulk") == 1


async def test_sessions_and_links_go_a_day_after_they_expired(world: World):
    for hours, pruned in ((23, 0), (25, 1)):
        at = world.clock.now() - timedelta(hours=hours)
        session = session_of(expires_at=at)
        async with world.deps.db.single() as tx:
            await sessions.add(tx, session, uuid7().bytes)
            await sessions.add_link(tx, session, uuid7().bytes)
        assert (await prune_some(world.deps, 5)).get("sessions", 0) == 2 * pruned
    assert await world.value("SELECT count(*) FROM session") == 1
    assert await world.value("SELECT count(*) FROM session_link") == 1
