"""Sample deliveries: one sample event to an endpoint, and the result of it."""

import json
from contextlib import suppress
from uuid import uuid4

import pytest

from gateway.core.crypto.cipher import Cipher
from gateway.core.events import EVENT_TYPES
from gateway.core.webhooks.signed_request import FaultKind
from gateway.errors import BadRequest, Conflict, NotFound, SecretSealed
from gateway.flows.deliver.endpoints import delete_endpoint, disable_endpoint
from gateway.flows.deliver.sample import sample_to_feed, try_endpoint
from gateway.flows.deliver.signing_secrets import rotate_secret
from gateway.flows.maintain.sweep import sweep
from gateway.ports import SendFault
from gateway.store.delivery_search import log
from gateway.store.tenancy import tenants
from tests.flows.fakes import reply
from tests.flows.scenes import OTHER, attempts, check, endpoint_row, secret_of
from tests.flows.world import HOOK, World


async def test_a_ping_is_signed_sent_returned_and_logged(world: World):
    tenant = await world.tenant(hook=HOOK, events=["job.failed"])
    endpoint = await endpoint_row(world)
    world.sender.will(HOOK, reply(204, [("server", "x")], b"thanks", 0.25))
    trial = await try_endpoint(world.deps, tenant, endpoint.id)
    (sent,) = world.sender.sent
    assert (trial.type, trial.body, trial.delivered) == ("test.ping", sent.body.decode(), True)
    assert json.loads(trial.body)["data"] == {"test": True, "tenant": "acme"}
    assert dict(sent.headers)["webhook-id"] == str(trial.event_id)
    check(sent, await secret_of(world, endpoint.id, tenant))
    assert (trial.attempt.status, trial.attempt.response_body) == (204, "thanks")
    assert (trial.attempt.duration_ms, trial.attempt.error_class) == (250, None)
    (row,) = await world.deliveries()
    assert (row.id, row.endpoint_id, row.state) == (trial.delivery_id, endpoint.id, "delivered")
    assert (row.attempts, row.lease_token) == (1, None)
    (event,) = await world.events()
    assert (event.id, event.endpoint_id, event.is_sample) == (trial.event_id, endpoint.id, True)
    async with world.deps.db.single() as tx:
        kept = await log.attempts(tx, tenant.id, [trial.delivery_id])
    assert kept == [(trial.delivery_id, trial.attempt)]
    assert await world.deliver() == 0


@pytest.mark.parametrize("kind", EVENT_TYPES)
async def test_every_type_can_be_tried(world: World, kind: str):
    tenant = await world.tenant(hook=HOOK)
    trial = await try_endpoint(world.deps, tenant, (await endpoint_row(world)).id, kind)
    body = json.loads(trial.body)
    assert (trial.type, body["type"]) == (kind, kind)
    if not kind.startswith("job."):
        return
    job = body["data"]
    status = {"job.started": "STARTED", "job.succeeded": "SUCCEEDED"}.get(kind, "FAILED")
    assert (job["status"], job["metadata"]) == (status, {"test": True})
    assert (job["result"] is not None) is (kind == "job.succeeded")
    assert (job["error"] is not None) is (kind == "job.failed")
    assert (job["completedAt"] is None) is (kind == "job.started")
    assert job["gateway"]["tenant"] == "acme"


@pytest.mark.parametrize("status", [302, 404, 410, 500, 503])
async def test_a_refusal_is_a_result_and_costs_the_endpoint_nothing(world: World, status: int):
    tenant = await world.tenant(hook=HOOK)
    before = await endpoint_row(world)
    world.sender.will(HOOK, reply(status, [("Retry-After", "60")], b"no"))
    trial = await try_endpoint(world.deps, tenant, before.id)
    assert (trial.delivered, trial.attempt.status) == (False, status)
    assert trial.attempt.error_class == f"http_{status // 100}xx"
    assert trial.attempt.response_body == "no"
    assert [row.state for row in await world.deliveries()] == ["exhausted"]
    assert await endpoint_row(world) == before
    await world.pass_time(3600)
    assert await world.deliver() == 0, "it is not tried again"


@pytest.mark.parametrize("kind", ["dns", "connect", "tls", "timeout", "blocked", "body", "egress"])
async def test_the_reason_for_no_answer_is_returned(world: World, kind: FaultKind):
    tenant = await world.tenant(hook=HOOK)
    world.sender.will(HOOK, SendFault(kind, "in its own words", 15.0))
    trial = await try_endpoint(world.deps, tenant, (await endpoint_row(world)).id)
    assert (trial.delivered, trial.attempt.status) == (False, None)
    assert (trial.attempt.error_class, trial.attempt.detail) == (kind, "in its own words")
    assert trial.attempt.duration_ms == 15_000
    (row,) = await world.deliveries()
    assert (row.state, row.last_class, row.last_error) == ("exhausted", kind, "in its own words")


async def test_a_disabled_endpoint_can_be_tested_and_stays_disabled(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint = await endpoint_row(world)
    await disable_endpoint(world.deps, tenant.id, endpoint.id)
    trial = await try_endpoint(world.deps, tenant, endpoint.id)
    assert trial.delivered
    assert (await endpoint_row(world)).disabled_at is not None
    (row,) = [row for row in await world.deliveries() if row.type == "test.ping"]
    assert row.state == "delivered"


async def test_no_deliverer_sends_a_sample_that_is_under_way(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint = await endpoint_row(world)
    await disable_endpoint(world.deps, tenant.id, endpoint.id)
    seen: list[int] = []

    async def meanwhile() -> None:
        world.sender.gate = None
        await sweep(world.deps)
        seen.append(await world.deliver())

    world.sender.gate = meanwhile
    trial = await try_endpoint(world.deps, tenant, endpoint.id)
    assert (trial.delivered, seen) == (True, [0])
    (row,) = [row for row in await world.deliveries() if row.type == "test.ping"]
    assert row.state == "delivered"


async def test_a_sample_has_the_custom_headers_and_a_signature_of_each_live_secret(world: World):
    tenant = await world.tenant()
    endpoint_id = await world.endpoint(tenant, HOOK, headers={"X-Key": "s3cr3t"})
    await rotate_secret(world.deps, tenant.id, endpoint_id, overlap=60)
    trial = await try_endpoint(world.deps, tenant, endpoint_id)
    headers = dict(world.sender.sent[0].headers)
    assert headers["x-key"] == "s3cr3t"
    assert len(headers["webhook-signature"].split(" ")) == 2
    assert json.loads(trial.attempt.request_headers)["x-key"] == "[hidden]"
    assert "s3cr3t" not in str([dict(row.items()) for row in await attempts(world)])


async def test_it_goes_to_no_other_endpoint(world: World):
    tenant = await world.tenant(hook=HOOK)
    await world.endpoint(tenant, OTHER)
    await try_endpoint(world.deps, tenant, (await endpoint_row(world)).id, "job.failed")
    await world.deliver()
    assert [sent.url for sent in world.sender.sent] == [HOOK]


async def test_a_sample_that_cannot_be_sent_is_refused_and_nothing_is_stored(world: World):
    tenant, other = await world.tenant(), await world.tenant("other")
    endpoint_id = await world.endpoint(tenant, HOOK)
    blind = world.other_process(cipher=Cipher([b"x" * 32]))
    with pytest.raises(BadRequest, match=r"type: 'job.sung' is not one of job"):
        await try_endpoint(world.deps, tenant, endpoint_id, "job.sung")
    with pytest.raises(NotFound):
        await try_endpoint(world.deps, tenant, uuid4())
    with pytest.raises(NotFound):
        await try_endpoint(world.deps, other, endpoint_id)
    with pytest.raises(SecretSealed, match="master key"):
        await try_endpoint(blind.deps, tenant, endpoint_id)
    await world.run("DELETE FROM signing_secret")
    with pytest.raises(Conflict, match="rotate it"):
        await try_endpoint(world.deps, tenant, endpoint_id)
    await delete_endpoint(world.deps, tenant.id, endpoint_id)
    with pytest.raises(NotFound):
        await try_endpoint(world.deps, tenant, endpoint_id)
    assert (await world.events(), await world.deliveries()) == ([], [])


async def test_headers_that_no_master_key_opens_are_said_too(world: World):
    tenant = await world.tenant()
    endpoint_id = await world.endpoint(tenant, HOOK, headers={"X-Key": "s3cr3t"})
    await world.run("UPDATE endpoint SET headers_sealed = 'sealed elsewhere'::bytea")
    with pytest.raises(SecretSealed, match="master key"):
        await try_endpoint(world.deps, tenant, endpoint_id)
    assert (await world.events(), await world.deliveries()) == ([], [])


async def test_a_sample_to_an_endpoint_that_is_deleted_meanwhile_returns_its_result(world: World):
    tenant = await world.tenant(hook=HOOK)
    endpoint = await endpoint_row(world)

    async def meanwhile() -> None:
        await delete_endpoint(world.deps, tenant.id, endpoint.id)

    world.sender.gate = meanwhile
    trial = await try_endpoint(world.deps, tenant, endpoint.id)
    assert trial.delivered
    assert [row.state for row in await world.deliveries()] == ["delivered"]
    assert len(await attempts(world)) == 1


async def test_a_tenant_erased_in_the_middle_stays_erased(world: World):
    tenant = await world.tenant(hook=HOOK)

    async def meanwhile() -> None:
        async with world.deps.db.begin() as tx:
            await tenants.erase(tx, tenant.id)

    world.sender.gate = meanwhile
    with suppress(NotFound):
        await try_endpoint(world.deps, tenant, (await endpoint_row(world)).id)
    assert (await world.events(), await world.deliveries()) == ([], [])


async def test_a_trial_whose_process_dies_leaves_nothing_to_be_sent_by_another(world: World):
    tenant = await world.tenant(hook=HOOK)

    async def die() -> None:
        raise RuntimeError("died")

    world.sender.gate = die
    with pytest.raises(RuntimeError, match="died"):
        await try_endpoint(world.deps, tenant, (await endpoint_row(world)).id)
    world.sender.gate = None
    world.sender.sent.clear()
    await world.pass_time(60)
    await sweep(world.deps)
    await world.deliver()
    assert world.sender.sent == []
    assert (await world.events(), await world.deliveries()) == ([], [])


async def test_a_sample_for_the_feed_is_sent_to_nobody(world: World):
    tenant = await world.tenant(hook=HOOK)
    event_id = await sample_to_feed(world.deps, tenant, "job.succeeded")
    (event,) = await world.events()
    assert (event.id, event.endpoint_id, event.is_sample) == (event_id, None, True)
    assert await world.deliveries() == []
    async with world.deps.db.begin() as tx:
        await tenants.erase(tx, tenant.id)
    with pytest.raises(NotFound):
        await sample_to_feed(world.deps, tenant, "job.succeeded")
