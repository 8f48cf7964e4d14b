"""POST /job: what is stored, the answer, and idempotency."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from uuid import UUID

import httpx
import pytest

from gateway.core.lifecycle import Finish
from gateway.core.model import JobState, Limits
from gateway.store.work import jobs
from tests.web.conftest import GOOD, World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _post(world: World, slug: str, body: Any = GOOD, **headers: str) -> httpx.Response:
    return await world.call("POST", "/v1/job", slug, headers=headers, json=body)


@pytest.mark.parametrize("path", ["/v1/job", "/v1/job/", "/api/job", "/api/job/"])
async def test_a_job_is_stored_before_its_answer(world: World, acme: str, path: str) -> None:
    answer = await world.call("POST", path, acme, json=GOOD)

    assert answer.status_code == 200
    assert set(answer.json()) == {"id"}
    job = await world.get(f"/v1/job/{answer.json()['id']}", acme)
    assert (job["name"], job["workflow"], job["workflowParams"]) == tuple(GOOD.values())
    assert job["status"] == "QUEUED"
    assert ("submit", 0.0) in world.queue.wakes


async def test_every_field_is_kept(world: World, acme: str) -> None:
    job_id = await world.job(
        acme,
        metadata={"user": "ada", "deep": {"list": [1, 2.5, None, True]}},
        copyResultsTo={"vocals": "https://bucket.example.com/v?sig=1"},
        batchName="spring",
        callbackUrl="https://hooks.example.com/done",
        deadline="PT1H30M",
        priority=7,
    )

    tenant = await world.find(acme)
    async with world.deps.db.single() as tx:
        job = await jobs.find(tx, tenant.id, UUID(job_id))
    assert job is not None
    assert json.loads(job.metadata) == {"user": "ada", "deep": {"list": [1, 2.5, None, True]}}
    assert json.loads(job.copy_results_to or "") == {"vocals": "https://bucket.example.com/v?sig=1"}
    assert (job.batch_name, job.priority) == ("spring", 7)
    assert job.callback_url == "https://hooks.example.com/done"
    assert job.deadline_at is not None
    assert (job.deadline_at - job.created_at).total_seconds() == 5400


async def test_numbers_and_text_reach_the_upstream_as_they_were_written(
    world: World, acme: str
) -> None:
    body = (
        b'{"name":"n","workflow":"w","params":'
        b'{"big":123456789012345678901234567890,"e":1.50,"s":"\\u00e9\xc3\xa9 \\ud83d\\ude00"}}'
    )

    answer = await world.call("POST", "/v1/job", acme, content=body)

    got = await world.call("GET", f"/v1/job/{answer.json()['id']}", acme)
    assert b'"big":123456789012345678901234567890,"e":1.50' in got.content
    assert got.json()["workflowParams"]["s"] == "\u00e9\u00e9 \U0001f600"


@pytest.mark.parametrize(
    ("tenants", "given", "merged"),
    [
        ("{}", {"a": 1}, {"a": 1}),
        ('{"plan": "gold"}', {}, {"plan": "gold"}),
        ('{"plan": "gold"}', None, {"plan": "gold"}),
        ('{"plan": "gold"}', {"a": 1}, {"plan": "gold", "a": 1}),
        ('{"plan": "gold", "a": 0}', {"a": {"b": 2}}, {"plan": "gold", "a": {"b": 2}}),
    ],
    ids=["no-tenants", "only-tenants", "null", "both", "request-wins"],
)
async def test_metadata_of_the_request_overrides_that_of_the_tenant(
    world: World, tenants: str, given: Any, merged: Any
) -> None:
    slug = await world.tenant("meta", metadata=tenants)

    job_id = await world.job(slug, metadata=given)

    assert (await world.get(f"/v1/job/{job_id}", slug))["metadata"] == merged


async def test_a_number_of_seconds_is_a_deadline_too(world: World, acme: str) -> None:
    job_id = await world.job(acme, deadline=90.5)

    tenant = await world.find(acme)
    async with world.deps.db.single() as tx:
        row = await tx.row(
            "SELECT deadline_at - created_at FROM job WHERE tenant_id = $1 AND id::text = $2",
            tenant.id,
            job_id,
        )
    assert row is not None
    assert row[0].total_seconds() == 90.5


class TestIdempotency:
    async def test_many_at_once_make_one_job(self, world: World, acme: str) -> None:
        await world.get("/v1/application", acme)

        answers = await asyncio.gather(
            *(_post(world, acme, **{"Idempotency-Key": "k"}) for _ in range(50))
        )

        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["id"] for answer in answers}) == 1
        replayed = [a for a in answers if a.headers.get("idempotency-replayed") == "true"]
        assert len(replayed) == 49
        assert await world.count(acme) == 1

    async def test_another_process_replays_too(self, world: World, acme: str) -> None:
        first = await _post(world, acme, **{"Idempotency-Key": "k"})
        world.client = await world.serve()

        again = await _post(world, acme, **{"Idempotency-Key": "k"})

        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"

    async def test_key_order_and_spaces_do_not_change_a_body(self, world: World, acme: str) -> None:
        body = GOOD | {"metadata": {"a": 1, "b": 2}, "deadline": 3600}
        other = {"deadline": "PT1H", "metadata": {"b": 2, "a": 1}} | GOOD

        first = await _post(world, acme, body, **{"Idempotency-Key": "k"})
        again = await world.call(
            "POST",
            "/v1/job",
            acme,
            headers={"Idempotency-Key": "k"},
            content=json.dumps(other, indent=3),
        )

        assert again.json() == first.json()

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "two"},
            {"workflow": "other"},
            {"params": {}},
            {"metadata": {"a": 1}},
            {"copyResultsTo": {"a": "https://bucket.example.com"}},
            {"batchName": "b"},
            {"callbackUrl": "https://hooks.example.com/"},
            {"deadline": 5},
            {"priority": 1},
        ],
        ids=lambda change: next(iter(change)),
    )
    async def test_another_body_is_refused(
        self, world: World, acme: str, change: dict[str, Any]
    ) -> None:
        await _post(world, acme, **{"Idempotency-Key": "k"})

        answer = await _post(world, acme, GOOD | change, **{"Idempotency-Key": "k"})

        problem(answer, 422, "IDEMPOTENCY_KEY_REUSED")
        assert await world.count(acme) == 1

    async def test_tenants_may_use_the_same_key(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")

        ids = [
            (await _post(world, slug, **{"Idempotency-Key": "k"})).json()["id"]
            for slug in (acme, globex)
        ]

        assert len(set(ids)) == 2

    async def test_equal_requests_without_a_key_are_two_jobs(self, world: World, acme: str) -> None:
        assert await world.job(acme) != await world.job(acme)


async def test_without_a_credential_nothing_is_stored(world: World) -> None:
    slug = await world.tenant("poor", credential=False)

    problem(await _post(world, slug), 409, "CREDENTIAL_MISSING")

    assert await world.count(slug) == 0


async def test_a_new_credential_counts_at_once(world: World) -> None:
    slug = await world.tenant("poor", credential=False)
    problem(await _post(world, slug), 409, "CREDENTIAL_MISSING")

    path = f"/admin/v1/tenant/{slug}/credential"
    await world.send("PUT", path, world.operator, {"apiKey": "k"})

    await world.job(slug)


async def test_a_full_queue_refuses(world: World) -> None:
    slug = await world.tenant("small", limits=Limits(max_queued=2))
    await world.job(slug)
    await world.job(slug)

    answer = await _post(world, slug)

    problem(answer, 429, "QUEUE_FULL")
    assert int(answer.headers["retry-after"]) >= 1
    assert await world.count(slug) == 2


async def test_prefer_wait_answers_the_finished_job(world: World, acme: str) -> None:
    waiting = asyncio.create_task(_post(world, acme, Prefer="respond-async, wait=30"))
    while not (listed := await world.get("/v1/job", acme)):
        pass
    await world.finish(listed[0]["id"], Finish(JobState.SUCCEEDED, result='{"bpm":"64"}'))

    answer = await waiting

    assert answer.headers["preference-applied"] == "wait=30"
    assert answer.json()["status"] == "SUCCEEDED"
    assert answer.json()["result"] == {"bpm": "64"}


async def test_prefer_wait_answers_the_status_when_time_runs_out(world: World, acme: str) -> None:
    answer = await _post(world, acme, Prefer="wait=0")

    assert answer.json().keys() == {"id", "status"}
    assert answer.json()["status"] == "QUEUED"


async def test_prefer_wait_in_all_its_spellings(world: World, acme: str) -> None:
    same = {"Idempotency-Key": "k"}
    job_id = (await _post(world, acme, **same)).json()["id"]
    await world.finish(job_id, Finish(JobState.SUCCEEDED))

    for prefer, applied in (
        ("Wait=10", "wait=10"),
        ('wait="10"', "wait=10"),
        ("wait = 10", "wait=10"),
        ('respond-async,\tWAIT ="007" ; x=1', "wait=7"),
        ("wait=9, wait=10", "wait=9"),
        ("wait=60", "wait=55"),
        ("wait=" + "9" * 5000, "wait=55"),
        ("wait=" + "0" * 5000 + "1", "wait=1"),
        ("wait", None),
        ("wait=", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ('wait="10', None),
        ("await=10", None),
    ):
        answer = await _post(world, acme, Prefer=prefer, **same)
        assert answer.headers.get("preference-applied") == applied, prefer
        assert ("status" in answer.json()) is (applied is not None), prefer


async def test_each_accept_is_reported(world: World, acme: str) -> None:
    await world.job(acme)
    await _post(world, acme, {})

    reports = [
        (outcome, f.get("workflow")) for work, outcome, f in world.observer.seen if work == "accept"
    ]
    assert reports == [("accepted", GOOD["workflow"]), ("BAD_REQUEST", None)]


async def test_the_callback_url_is_checked(world: World, acme: str) -> None:
    world.sender.refused["https://10.0.0.1/x"] = "the address 10.0.0.1 is private"

    body = problem(
        await _post(world, acme, GOOD | {"callbackUrl": "https://10.0.0.1/x"}), 400, "BAD_REQUEST"
    )

    assert body["errors"] == [{"field": "callbackUrl", "reason": "the address 10.0.0.1 is private"}]
    assert await world.count(acme) == 0


async def test_the_gateways_limit_holds_for_a_tenant_without_one(world: World) -> None:
    slug = await world.tenant("plain")
    world.client = await world.serve(policy=replace(world.deps.policy, max_queued=1))
    await world.job(slug)

    problem(await _post(world, slug), 429, "QUEUE_FULL")
