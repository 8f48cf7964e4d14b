"""Batches, retries, and bulk operations on jobs."""

from typing import Any
from uuid import UUID

import pytest

from gateway.core.lifecycle import Finish, error_of
from gateway.core.model import JobState, KeyKind, Limits
from gateway.flows.accept.acceptor import Acceptor
from gateway.flows.bulk.deliveries import step
from tests.web.conftest import GOOD, NOBODY, World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_FAILED = Finish(JobState.FAILED, error=error_of("BAD_INPUT", "Bad", "It is bad."))
_NEVER = "0001-01-01T00:00:00+14:00"  # before the first year in UTC


def batch_of(*jobs: dict[str, Any], name: str = "monday") -> dict[str, Any]:
    return {"name": name, "jobs": [GOOD | job for job in jobs]}


def _accepts(world: World) -> list[str]:
    return [outcome for work, outcome, _ in world.observer.seen if work == "accept"]


async def made(world: World, slug: str, body: Any, **headers: str) -> tuple[list[str], bool]:
    """The ids of a batch that must be accepted, and whether it was a replay."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await world.call("POST", "/v1/batch", slug, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["batchName"] == body["name"]
    return answer.json()["ids"], answer.headers.get("idempotency-replayed") == "true"


class TestBatches:
    @pytest.mark.parametrize("root", ["v1", "api"])
    async def test_all_jobs_are_accepted_in_order(self, world: World, acme: str, root: str) -> None:
        body = batch_of({"name": "a", "priority": 4}, {"name": "b", "deadline": 60}, {"name": "c"})

        answer = await world.call("POST", f"/{root}/batch", acme, json=body)

        assert answer.status_code == 200, answer.text
        assert answer.json() == {"batchName": "monday", "ids": answer.json()["ids"]}
        assert "idempotency-replayed" not in answer.headers
        shown = [await world.get(f"/v1/job/{id_}", acme) for id_ in answer.json()["ids"]]
        assert [job["name"] for job in shown] == ["a", "b", "c"]
        assert {(job["batchName"], job["status"]) for job in shown} == {("monday", "QUEUED")}
        assert shown[0]["workflowParams"] == GOOD["params"]
        assert ("submit", 0.0) in world.queue.wakes
        listed = await world.get("/v1/job?batchName=monday", acme)
        assert len(listed) == 3

    async def test_each_job_is_reported_and_each_refusal(self, world: World, acme: str) -> None:
        body = batch_of({"name": "a"}, {"name": "b"})
        await made(world, acme, body, idempotency_key="k")
        await made(world, acme, body, idempotency_key="k")
        wrong = batch_of({"deadline": 0})
        await world.call("POST", "/v1/batch", acme, json=wrong)

        assert _accepts(world) == [*2 * ["accepted"], *2 * ["replayed"], "BAD_REQUEST"]

    async def test_a_thousand_jobs_are_accepted_and_one_more_is_refused(self, world: World) -> None:
        slug = await world.tenant("acme")
        world.client = await world.serve(max_body_bytes=1_048_576)
        jobs = [{"name": f"{n}"} for n in range(1001)]

        answer = await world.call("POST", "/v1/batch", slug, json=batch_of(*jobs))
        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["jobs"]
        assert await world.count(slug) == 0

        ids, _ = await made(world, slug, batch_of(*jobs[:1000]))
        assert len(set(ids)) == 1000
        assert await world.count(slug) == 1000
        assert (await world.get(f"/v1/job/{ids[999]}", slug))["name"] == "999"

    @pytest.mark.parametrize(
        ("place", "change", "field"),
        [
            (3, {"params": []}, "jobs[3].params"),
            (3, {"params": None}, "jobs[3].params"),
            (0, {"name": ""}, "jobs[0].name"),
            (1, {"workflow": 1}, "jobs[1].workflow"),
            (2, {"color": "red"}, "jobs[2].color"),
            (2, {"batchName": "x"}, "jobs[2].batchName"),
            (1, {"deadline": 0}, "jobs[1].deadline"),
            (1, {"deadline": "P31D"}, "jobs[1].deadline"),
            (3, {"priority": 10}, "jobs[3].priority"),
            (0, {"metadata": "x"}, "jobs[0].metadata"),
            (2, {"copyResultsTo": {"a": 1}}, "jobs[2].copyResultsTo"),
            (1, {"callbackUrl": "https://evil.example/x"}, "jobs[1].callbackUrl"),
        ],
    )
    async def test_a_fault_is_named_with_the_place_of_its_job(
        self, world: World, acme: str, place: int, change: dict[str, Any], field: str
    ) -> None:
        world.sender.refused["https://evil.example/x"] = "it is evil"
        jobs: list[dict[str, Any]] = [{"callbackUrl": "https://good.example/x"}] * 4
        jobs[place] = change

        answer = await world.call("POST", "/v1/batch", acme, json=batch_of(*jobs))

        body = problem(answer, 400, "BAD_REQUEST")
        (named,) = fields_of(body)
        assert named.startswith(field), body
        assert body["detail"].startswith(field)
        assert await world.count(acme) == 0

    async def test_a_job_without_its_fields(self, world: World, acme: str) -> None:
        body = {"name": "b", "jobs": [GOOD, {"name": "x"}]}
        answer = await world.call("POST", "/v1/batch", acme, json=body)
        named = fields_of(problem(answer, 400, "BAD_REQUEST"))
        assert set(named) <= {"jobs[1].workflow", "jobs[1].params"}
        assert named

    @pytest.mark.parametrize(
        ("body", "fields"),
        [
            ({}, {"name", "jobs"}),
            ({"name": "b"}, {"jobs"}),
            ({"name": "b", "jobs": []}, {"jobs"}),
            ({"name": "b", "jobs": {}}, {"jobs"}),
            ({"name": "", "jobs": [GOOD]}, {"name"}),
            ({"name": "b", "jobs": [GOOD], "more": 1}, {"more"}),
            ({"name": "b", "jobs": [1]}, {"jobs[0]"}),
        ],
    )
    async def test_a_bad_body_is_refused(
        self, world: World, acme: str, body: Any, fields: set[str]
    ) -> None:
        answer = await world.call("POST", "/v1/batch", acme, json=body)

        named = set(fields_of(problem(answer, 400, "BAD_REQUEST")))
        assert named
        assert named <= fields

    async def test_without_a_credential_nothing_is_accepted(self, world: World) -> None:
        slug = await world.tenant("bare", credential=False)

        answer = await world.call("POST", "/v1/batch", slug, json=batch_of({}))

        problem(answer, 409, "CREDENTIAL_MISSING")
        assert await world.count(slug) == 0

    async def test_a_full_queue_accepts_none_of_the_jobs(self, world: World) -> None:
        slug = await world.tenant("acme", limits=Limits(max_queued=3))

        answer = await world.call("POST", "/v1/batch", slug, json=batch_of(*[{}] * 4))
        problem(answer, 429, "QUEUE_FULL")
        assert _accepts(world) == ["QUEUE_FULL"]
        assert await world.count(slug) == 0
        await made(world, slug, batch_of(*[{}] * 3))


class TestKeysOfBatches:
    async def test_the_same_request_has_the_same_answer(self, world: World, acme: str) -> None:
        body = batch_of({"name": "a"}, {"name": "b"})

        first = await made(world, acme, body, Idempotency_Key="k")
        again = await made(world, acme, body, Idempotency_Key="k")

        assert (first[1], again) == (False, (first[0], True))
        assert await world.count(acme) == 2
        other = await made(world, acme, body, Idempotency_Key="l")
        assert not other[1]
        assert not (await made(world, await world.tenant("other"), body, Idempotency_Key="k"))[1]

    async def test_another_request_with_that_key_is_refused(self, world: World, acme: str) -> None:
        await made(world, acme, batch_of({}, {}), Idempotency_Key="k")

        for body in (batch_of({}, {}, {}), batch_of({}), batch_of({}, {}, name="tuesday")):
            answer = await world.call(
                "POST", "/v1/batch", acme, json=body, headers={"Idempotency-Key": "k"}
            )
            problem(answer, 422, "IDEMPOTENCY_KEY_REUSED")
        assert await world.count(acme) == 2

    async def test_a_key_is_for_a_job_or_for_a_batch(self, world: World, acme: str) -> None:
        await made(world, acme, batch_of({}, {}), Idempotency_Key="k")
        key = {"Idempotency-Key": "l"}
        assert (await world.call("POST", "/v1/job", acme, json=GOOD, headers=key)).is_success

        for path, body, key in (("job", GOOD, "k"), ("batch", batch_of({}), "l")):
            headers = {"Idempotency-Key": key}
            answer = await world.call("POST", f"/v1/{path}", acme, json=body, headers=headers)
            problem(answer, 422, "IDEMPOTENCY_KEY_REUSED")
        assert await world.count(acme) == 3

    @pytest.mark.parametrize("key", ["", "x" * 256, "a\x1fb"])
    async def test_a_bad_key_is_refused(self, world: World, acme: str, key: str) -> None:
        answer = await world.call(
            "POST", "/v1/batch", acme, json=batch_of({}), headers={"Idempotency-Key": key}
        )

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["Idempotency-Key"]


class TestRetry:
    async def test_an_ended_job_runs_again(self, world: World, acme: str) -> None:
        job_id = await world.job(acme, batchName="b", metadata={"order": "7"})
        await world.finish(job_id, _FAILED)
        path = f"/v1/job/{job_id}/retry"

        again = await world.send("POST", path, acme)

        assert again == {"id": again["id"], "retryOf": job_id}
        old, new = [await world.get(f"/v1/job/{id_}", acme) for id_ in (job_id, again["id"])]
        assert new["gateway"]["retryOf"] == job_id
        assert (new["status"], old["status"]) == ("QUEUED", "FAILED")
        for name in ("name", "batchName", "workflow", "workflowParams", "metadata"):
            assert new[name] == old[name], name
        problem(await world.call("POST", f"/v1/job/{again['id']}/retry", acme), 409, "CONFLICT")
        assert _accepts(world) == ["accepted", "accepted", "CONFLICT"]

    async def test_one_key_makes_one_retry(self, world: World, acme: str) -> None:
        jobs = [await world.job(acme) for _ in range(2)]
        for job_id in jobs:
            await world.finish(job_id, _FAILED)
        path, headers = f"/v1/job/{jobs[0]}/retry", {"Idempotency-Key": "k"}

        answers = [await world.call("POST", path, acme, headers=headers) for _ in range(2)]

        assert answers[0].json() == answers[1].json()
        replayed = [answer.headers.get("idempotency-replayed") for answer in answers]
        assert replayed == [None, "true"]
        other = await world.call("POST", f"/v1/job/{jobs[1]}/retry", acme, headers=headers)
        problem(other, 422, "IDEMPOTENCY_KEY_REUSED")

    async def test_another_tenants_job_does_not_exist(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        await world.finish(job_id, _FAILED)
        globex = await world.tenant("globex")

        for path in (f"/v1/job/{job_id}/retry", f"/v1/job/{NOBODY}/retry"):
            problem(await world.call("POST", path, globex), 404, "NOT_FOUND")
        assert await world.count(globex) == 0

    async def test_a_full_queue_refuses_a_retry(self, world: World) -> None:
        slug = await world.tenant("acme", limits=Limits(max_queued=1))
        job_id = await world.job(slug)
        await world.finish(job_id, _FAILED)
        await world.job(slug)

        problem(await world.call("POST", f"/v1/job/{job_id}/retry", slug), 429, "QUEUE_FULL")


class TestBulk:
    async def test_open_jobs_are_cancelled(self, world: World, acme: str) -> None:
        jobs = [await world.job(acme, name=f"{n}", batchName="b") for n in range(3)]
        done = await world.job(acme, batchName="b")
        await world.finish(done, _FAILED)
        given = {"filter": {"batchName": ["b"]}}

        dry = await world.send("POST", "/v1/job/cancel", acme, {**given, "dryRun": True})
        assert dry == {"dryRun": True, "count": 3}
        assert await world.get("/v1/bulk", acme) == []

        begun = await world.send("POST", "/v1/job/cancel", acme, given)
        assert (begun["kind"], begun["state"], begun["total"]) == ("cancel-jobs", "running", 3)
        ended = await _finished(world, acme, begun)
        assert (ended["state"], ended["done"]) == ("done", 3)
        for job_id in jobs:
            problem(await world.call("GET", f"/v1/job/{job_id}", acme), 404, "NOT_FOUND")
        assert (await world.get(f"/v1/job/{done}", acme))["status"] == "FAILED"

    async def test_failed_jobs_run_again(self, world: World, acme: str) -> None:
        jobs = [await world.job(acme, metadata={"n": f"{n}"}) for n in range(3)]
        for job_id in jobs[:2]:
            await world.finish(job_id, _FAILED)
        cases: list[tuple[dict[str, Any], int]] = [
            ({"status": ["FAILED"]}, 2),
            ({"errorCode": ["BAD_INPUT"]}, 2),
            ({"errorCode": ["OTHER"]}, 0),
            ({"metadata": {"n": ["1", "2"]}}, 1),
            ({"workflow": [GOOD["workflow"]], "name": [GOOD["name"]]}, 2),
            ({"createdAfter": "2001-01-01T00:00:00Z"}, 2),
            ({"createdBefore": "2001-01-01T00:00:00Z"}, 0),
            ({"completedAfter": "2001-01-01T00:00:00Z"}, 2),
            ({"completedBefore": "2001-01-01T00:00:00Z"}, 0),
            ({"id": [jobs[0], jobs[2], NOBODY]}, 1),
            ({"id": jobs, "metadata": {"n": ["1", "2"]}}, 1),
        ]

        for wanted, count in cases:
            given = {"filter": wanted, "dryRun": True}
            dry = await world.send("POST", "/v1/job/retry", acme, given)
            assert dry == {"dryRun": True, "count": count}, wanted
        begun = await world.send("POST", "/v1/job/retry", acme, {"filter": {"status": ["FAILED"]}})
        assert (await _finished(world, acme, begun))["done"] == 2
        listed = await world.get("/v1/job", acme)
        retried = [job["gateway"]["retryOf"] for job in listed if job["gateway"]["retryOf"]]
        assert sorted(retried) == sorted(jobs[:2])

    async def test_webhooks_of_jobs_are_sent_again(self, world: World, acme: str) -> None:
        jobs = [await world.job(acme) for _ in range(2)]
        given = {"filter": {"id": jobs}}
        dry = await world.send("POST", "/v1/job/resend", acme, {**given, "dryRun": True})
        assert dry == {"dryRun": True, "count": 2}
        begun = await world.send("POST", "/v1/job/resend", acme, given)
        assert (begun["kind"], begun["total"]) == ("resend-webhooks", 2)
        assert (await _finished(world, acme, begun))["done"] == 2

    @pytest.mark.parametrize(
        ("path", "body", "field"),
        [
            ("cancel", {}, "filter"),
            ("cancel", {"filter": {}}, "filter"),
            ("retry", {"filter": {}}, "filter"),
            ("retry", {"filter": {"status": []}}, "filter.status"),
            ("cancel", {"filter": {"createdAfter": None}}, "filter"),
            ("cancel", {"filter": {"status": ["done"]}}, "filter.status[0]"),
            ("cancel", {"filter": {"tenant": ["x"]}}, "filter.tenant"),
            ("cancel", {"filter": {"name": ["x"]}, "dryRun": "yes"}, "dryRun"),
            ("cancel", {"filter": {"createdAfter": "2026-01"}}, "filter.createdAfter"),
            ("cancel", {"filter": {"createdBefore": _NEVER}}, "filter.createdBefore"),
            ("retry", {"filter": {"completedAfter": _NEVER}}, "filter.completedAfter"),
            ("retry", {"filter": {"completedBefore": "soon"}}, "filter.completedBefore"),
            ("retry", {"filter": {"id": []}}, "filter.id"),
            ("resend", {"filter": {"id": ["x"]}}, "filter.id[0]"),
            ("resend", {"filter": {}}, "filter"),
        ],
    )
    async def test_a_bad_filter_is_named(
        self, world: World, acme: str, path: str, body: Any, field: str
    ) -> None:
        answer = await world.call("POST", f"/v1/job/{path}", acme, json=body)

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]

    @pytest.mark.parametrize(("path", "status"), [("cancel", "SUCCEEDED"), ("retry", "QUEUED")])
    async def test_a_status_that_makes_no_sense_is_refused(
        self, world: World, acme: str, path: str, status: str
    ) -> None:
        given = {"filter": {"status": [status]}}

        answer = await world.call("POST", f"/v1/job/{path}", acme, json=given)

        assert fields_of(problem(answer, 400, "BAD_REQUEST"))[0].endswith("status")
        assert await world.get("/v1/bulk", acme) == []

    async def test_writing_needs_the_scope(self, world: World, acme: str) -> None:
        key = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"jobs:read"}))
        job_id = await world.job(acme)

        for path, body in (
            ("batch", batch_of({})),
            ("job/cancel", {"filter": {"name": ["x"]}}),
            ("job/retry", {"filter": {"name": ["x"]}}),
            ("job/resend", {"filter": {"name": ["x"]}}),
            (f"job/{job_id}/retry", None),
        ):
            answer = await world.call("POST", f"/v1/{path}", key, json=body)
            problem(answer, 403, "FORBIDDEN")


async def _finished(world: World, slug: str, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation after workers have done all of it."""
    while await step(world.deps, Acceptor(world.deps)):
        async with world.deps.db.single() as tx:
            await tx.run("UPDATE bulk SET next_at = now() WHERE id = $1", UUID(operation["id"]))
    return await world.get(f"/v1/bulk/{operation['id']}", slug)
