"""The trace of a job: its spans, what they are children of, and who is told of them."""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from gateway.core.model import JobState, Tenant
from gateway.core.trace_context import trace_id_of
from gateway.flows.admin.tenants import TenantUpdate, change_tenant
from gateway.flows.bulk.deliveries import step
from gateway.flows.bulk.jobs import retry_jobs
from gateway.ports import Refused
from gateway.store.job_search.filter import JobFilter
from tests.builders import TRACEPARENT
from tests.fakes import FakeSpan, FakeTracer
from tests.flows.fakes import PROBLEM, reply
from tests.flows.world import CALLBACK, HOOK, World


@pytest.fixture
def tracer(world: World) -> FakeTracer:
    return FakeTracer()


@pytest.fixture
def traced(world: World, tracer: FakeTracer) -> World:
    """The same world, with traces on."""
    return world.other_process(tracer=tracer)


async def want(world: World, *who: str) -> None:
    await change_tenant(world.deps, "test", "acme", TenantUpdate(send_traceparent=who))


def shown(spans: Sequence[FakeSpan]) -> list[tuple[str, str | None]]:
    return [(span.work, span.outcome) for span in spans]


def headers(world: World) -> list[str | None]:
    """The trace contexts that receivers were sent."""
    return [dict(webhook.headers).get("traceparent") for webhook in world.sender.sent]


async def test_a_job_has_one_trace_from_submit_to_delivery(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant(hook=HOOK)
    job_id = await traced.accept_one(tenant, traceparent=TRACEPARENT)
    await traced.submit()
    traced.upstream.move("STARTED")
    await traced.poll_soon()
    await traced.poll_soon()  # brings no news
    traced.upstream.move("SUCCEEDED")
    await traced.pass_time(2)
    await traced.poll_soon()
    await traced.deliver_all()
    assert shown(tracer.spans) == [
        ("submit", "submitted"),
        ("poll", "running"),
        ("poll", "succeeded"),
        ("settle", "succeeded"),
        ("deliver", "delivered"),
        ("deliver", "delivered"),
    ]
    assert {span.parent for span in tracer.spans} == {TRACEPARENT}
    assert len({span.traceparent for span in tracer.spans}) == len(tracer.spans)
    submit, poll = tracer.of("submit")[0], tracer.of("poll")[0]
    assert submit.fields["job_id"] == poll.fields["job_id"] == job_id
    assert poll.fields["tenant_id"] == tenant.id
    assert poll.fields["credential_id"] == submit.fields["credential_id"]


async def test_every_attempt_to_deliver_is_a_span(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant()
    traced.sender.will(CALLBACK, reply(500))
    await traced.ended(tenant, callback_url=CALLBACK, traceparent=TRACEPARENT)
    await traced.deliver()
    await traced.pass_time(60)
    await traced.deliver()
    assert shown(tracer.of("deliver")) == [("deliver", "retry"), ("deliver", "delivered")]
    assert [span.fields["number"] for span in tracer.of("deliver")] == [1, 2]


async def test_a_job_that_is_refused_is_settled_in_its_trace(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant()
    traced.upstream.will("submit", Refused(400, PROBLEM))
    await traced.accept_one(tenant, traceparent=TRACEPARENT)
    await traced.submit()
    assert sorted(shown(tracer.spans)) == [("settle", "failed"), ("submit", "refused")]


async def test_a_span_of_a_poll_begins_with_its_round(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant()
    await traced.at_upstream(tenant, traceparent=TRACEPARENT)
    traced.upstream.move("SUCCEEDED")

    async def slow() -> None:
        traced.clock.advance(0.75)

    traced.upstream.gates["status"] = slow
    await traced.poll()
    (poll,), (settle,) = tracer.of("poll"), tracer.of("settle")
    assert (poll.ago, settle.ago) == (0.75, 0.0)


async def test_jobs_without_a_context_have_no_spans(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant(hook=HOOK)
    await traced.ended(tenant)
    await traced.deliver_all()
    assert tracer.spans == []


async def test_nothing_is_traced_while_traces_are_off(world: World):
    tenant = await world.tenant(hook=HOOK)
    await want(world, "upstream", "receivers")
    await world.ended(tenant, traceparent=TRACEPARENT)
    await world.deliver_all()
    assert [submission.traceparent for _, submission in world.upstream.sent] == [None]
    assert headers(world) == [None]


@pytest.mark.parametrize(
    ("who", "to_upstream", "to_receivers"),
    [
        ((), False, False),
        (("upstream",), True, False),
        (("receivers",), False, True),
        (("receivers", "upstream"), True, True),
    ],
)
async def test_the_tenant_says_who_is_sent_the_context(
    traced: World, tracer: FakeTracer, who: Sequence[str], to_upstream: bool, to_receivers: bool
):
    tenant = await traced.tenant(hook=HOOK)
    await want(traced, *who)
    await traced.ended(tenant, traceparent=TRACEPARENT)
    await traced.deliver_all()
    (submit,), (deliver,) = tracer.of("submit"), tracer.of("deliver")
    expected = submit.traceparent if to_upstream else None
    assert [submission.traceparent for _, submission in traced.upstream.sent] == [expected]
    assert headers(traced) == [deliver.traceparent if to_receivers else None]


async def test_a_bulk_retry_begins_a_trace_for_each_new_job(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant()
    await traced.ended(tenant, 2, traceparent=TRACEPARENT)
    tracer.spans.clear()
    await _retry_all(traced, tenant)
    rows = await traced.rows("SELECT id, traceparent FROM job WHERE retry_of IS NOT NULL")
    begun = {span.traceparent: span for span in tracer.of("accept")}
    assert len(rows) == len(begun) == 2
    for row in rows:
        span = begun[row.traceparent]
        assert (span.parent, span.outcome, span.fields["job_id"]) == (None, "accepted", row.id)
    assert len({trace_id_of(text) for text in begun}) == 2


async def test_a_bulk_retry_without_traces_leaves_no_context(world: World):
    tenant = await world.tenant()
    await world.ended(tenant, traceparent=TRACEPARENT)
    await _retry_all(world, tenant)
    assert await world.value("SELECT traceparent FROM job WHERE retry_of IS NOT NULL") is None


async def _retry_all(world: World, tenant: Tenant) -> None:
    states = (JobState.SUCCEEDED.value,)
    await retry_jobs(world.deps, tenant.id, JobFilter((tenant.id,), states=states))
    assert await step(world.deps, world.acceptor)


async def test_another_process_goes_on_with_the_trace_of_one_that_died(
    world: World, traced: World, tracer: FakeTracer
):
    tenant = await traced.tenant(hook=HOOK)
    await traced.at_upstream(tenant, traceparent=TRACEPARENT)
    heir = FakeTracer()
    other = world.other_process(tracer=heir)
    other.upstream.move("SUCCEEDED")
    await other.poll_soon()
    await other.deliver_all()
    assert shown(tracer.spans) == [("submit", "submitted")]
    assert [span.work for span in heir.spans] == ["poll", "settle", "deliver"]
    assert {span.parent for span in heir.spans} == {TRACEPARENT}


def ids_of(spans: Sequence[FakeSpan]) -> set[UUID]:
    return {span.fields["job_id"] for span in spans if isinstance(span.fields["job_id"], UUID)}


async def test_one_round_is_shown_in_the_trace_of_each_job(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant()
    contexts = [TRACEPARENT.replace("4bf9", f"4bf{n}") for n in range(3)]
    ids = [await traced.accept_one(tenant, traceparent=text) for text in (*contexts, None)]
    await traced.submit()
    traced.upstream.move("SUCCEEDED")
    await traced.poll_soon()
    assert sorted(span.parent or "" for span in tracer.of("poll")) == contexts
    assert ids_of(tracer.of("poll")) == ids_of(tracer.of("settle")) == set(ids[:3])


async def test_what_cannot_be_signed_has_no_span(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant(hook=HOOK)
    await traced.ended(tenant, traceparent=TRACEPARENT)
    tracer.spans.clear()
    await traced.run("DELETE FROM signing_secret")
    await traced.deliver()
    assert tracer.spans == []


async def test_a_stalled_delivery_is_not_reported(traced: World, tracer: FakeTracer):
    tenant = await traced.tenant(hook=HOOK)
    await traced.ended(tenant, traceparent=TRACEPARENT)
    policy = replace(traced.deps.policy, lease_margin=traced.deps.policy.lease + 1)
    await traced.other_process(policy=policy, tracer=tracer).deliver()
    assert [span.outcome for span in tracer.of("deliver")] == [None]
