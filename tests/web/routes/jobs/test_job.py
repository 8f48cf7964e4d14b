"""One job: read, wait, delete and timeline, for its own tenant only."""

import asyncio
import json
from datetime import datetime
from uuid import UUID

import msgspec
import pytest

from gateway.core.events import job_json
from gateway.core.lifecycle import Finish, JobFailure
from gateway.core.model import JobState, KeyKind
from gateway.flows.health.heartbeat import Heart
from gateway.flows.read.jobs import find_job
from gateway.ports import Unknown, Workflow
from gateway.store.processes import Identity
from gateway.web.schemas.responses import JobOut
from tests.web.conftest import NOBODY, World, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DONE = Finish(JobState.SUCCEEDED, result='{"bpm":"64"}')
_BAD = JobFailure("BAD_INPUT", "Bad input", "File not found.", "caller", retryable=False)


async def test_a_new_job_has_every_field(world: World, acme: str) -> None:
    job_id = await world.job(acme, batchName="b", metadata={"a": 1})

    job = await world.get(f"/v1/job/{job_id}", acme)

    tenant = await world.find(acme)
    gateway = job.pop("gateway")
    assert job.pop("createdAt").endswith("Z")
    assert job == {
        "id": job_id,
        "app": tenant.name,
        "name": "one",
        "batchName": "b",
        "workflow": "music-ai/generate-chords",
        "workflowParams": {"inputUrl": "https://media.example.com/a.wav"},
        "status": "QUEUED",
        "result": None,
        "error": None,
        "metadata": {"a": 1},
        "startedAt": None,
        "completedAt": None,
    }
    assert gateway.pop("waitsFor")["code"] == "NO_WORKER"
    assert gateway == {
        "tenant": acme,
        "state": "accepted",
        "upstreamId": None,
        "submitAttempts": 0,
        "nextAttemptAt": None,
        "queuePosition": 0,
        "version": 1,
        "retryOf": None,
        "traceId": None,
    }


async def test_a_job_has_the_described_fields(world: World, acme: str) -> None:
    job_id = await world.job(acme)
    await world.finish(job_id, Finish(JobState.FAILED, error=_BAD))

    answer = await world.call("GET", f"/v1/job/{job_id}", acme)

    described = msgspec.json.decode(answer.content, type=JobOut)
    assert json.loads(msgspec.json.encode(described)) == answer.json()
    assert answer.json()["error"] == {
        "code": "BAD_INPUT",
        "title": "Bad input",
        "message": "File not found.",
        "origin": "caller",
        "retryable": False,
    }


async def test_an_answer_has_the_same_values_as_an_event(world: World, acme: str) -> None:
    job_id = await world.job(acme)
    await world.finish(job_id, _DONE)

    answer = await world.call("GET", f"/v1/job/{job_id}", acme)

    tenant = await world.find(acme)
    assert answer.text == job_json(await find_job(world.deps, tenant.id, UUID(job_id)))
    assert answer.headers["etag"] == '"2"'


async def test_the_queue_position_counts_the_jobs_before(world: World, acme: str) -> None:
    ids = [await world.job(acme) for _ in range(3)]
    urgent = await world.job(acme, priority=5)

    positions = [
        (await world.get(f"/v1/job/{job_id}", acme))["gateway"]["queuePosition"]
        for job_id in (*ids, urgent)
    ]

    assert positions == [1, 2, 3, 0]


async def test_the_status_has_nothing_else(world: World, acme: str) -> None:
    job_id = await world.job(acme)

    assert await world.get(f"/v1/job/{job_id}/status", acme) == {"id": job_id, "status": "QUEUED"}


async def test_the_older_api_shows_workflows_by_id_and_name(world: World, acme: str) -> None:
    slug = "music-ai/generate-chords"
    world.upstream.listed = [Workflow("w-1", "Chords", slug, f'{{"id":"w-1","slug":"{slug}"}}')]
    known, unknown = await world.job(acme), await world.job(acme, workflow="other")

    assert (await world.get(f"/api/job/{known}", acme))["workflow"] == {
        "id": "w-1",
        "name": "Chords",
    }
    assert (await world.get(f"/api/job/{unknown}", acme))["workflow"] == {
        "id": "other",
        "name": "other",
    }
    assert [job["workflow"]["id"] for job in await world.get("/api/job", acme)] == ["other", "w-1"]
    done = await world.call(
        "POST",
        "/api/job",
        acme,
        headers={"Idempotency-Key": "k"},
        json={"name": "n", "workflow": slug, "params": {}},
    )
    await world.finish(done.json()["id"], _DONE)
    again = await world.call(
        "POST",
        "/api/job",
        acme,
        headers={"Idempotency-Key": "k", "Prefer": "wait=1"},
        json={"name": "n", "workflow": slug, "params": {}},
    )
    assert again.json()["workflow"] == {"id": "w-1", "name": "Chords"}
    assert again.headers["idempotency-replayed"] == "true"


async def test_the_older_api_works_without_the_upstream(world: World, acme: str) -> None:
    world.upstream.listed = Unknown("away")
    job_id = await world.job(acme, workflow="w")

    assert (await world.get(f"/api/job/{job_id}", acme))["workflow"] == {"id": "w", "name": "w"}


class TestWaiting:
    async def test_for_the_end(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        waiting = asyncio.create_task(world.get(f"/v1/job/{job_id}?wait=30", acme))
        await asyncio.sleep(0)
        await world.finish(job_id, _DONE)

        assert (await waiting)["status"] == "SUCCEEDED"

    async def test_for_another_version(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        path = f"/v1/job/{job_id}?wait=30"

        assert (await world.get(path, acme, **{"If-None-Match": '"0"'}))["status"] == "QUEUED"

    async def test_until_time_runs_out(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)

        job = await world.get(f"/v1/job/{job_id}?wait=0.01", acme)

        assert job["status"] == "QUEUED"

    async def test_until_the_process_stops(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        world.deps.slots.closing = True
        try:
            job = await world.get(f"/v1/job/{job_id}?wait=60", acme)
        finally:
            world.deps.slots.closing = False

        assert job["status"] == "QUEUED"

    @pytest.mark.parametrize("wait", ["61", "-1", "soon", "nan", "inf"])
    async def test_within_the_limit(self, world: World, acme: str, wait: str) -> None:
        answer = await world.call("GET", f"/v1/job/{NOBODY}?wait={wait}", acme)

        assert problem(answer, 400, "BAD_REQUEST")["errors"][0]["field"] == "wait"


class TestDeleting:
    async def test_a_deleted_job_is_gone_everywhere(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)

        assert await world.send("DELETE", f"/v1/job/{job_id}", acme) == {"id": job_id}

        for method, path in (("GET", ""), ("GET", "/status"), ("GET", "/event"), ("DELETE", "")):
            answer = await world.call(method, f"/v1/job/{job_id}{path}", acme)
            problem(answer, 404, "NOT_FOUND")
        assert await world.get("/v1/job", acme) == []

    async def test_it_still_counts_in_usage(self, world: World, acme: str) -> None:
        await world.send("DELETE", f"/v1/job/{await world.job(acme)}", acme)

        usage = await world.get("/v1/usage?groupBy=errorCode", acme)

        assert [(row["errorCode"], row["jobs"]) for row in usage["rows"]] == [("CANCELLED", 1)]

    async def test_an_ended_job_can_be_deleted_too(self, world: World, acme: str) -> None:
        job_id = await world.job(acme)
        await world.finish(job_id, _DONE)

        assert await world.send("DELETE", f"/v1/job/{job_id}", acme) == {"id": job_id}


async def test_a_timeline_has_everything_that_happened(world: World, acme: str) -> None:
    job_id = await world.job(acme)
    await world.finish(job_id, Finish(JobState.FAILED, error=_BAD))

    moments = await world.get(f"/v1/job/{job_id}/event", acme)

    assert [moment["type"] for moment in moments] == ["accepted", "failed"]
    assert "BAD_INPUT" in moments[1]["text"]
    assert moments[0]["at"].endswith("Z")
    accepted, failed = (datetime.fromisoformat(moment["at"]) for moment in moments)
    later = pytest.approx((failed - accepted).total_seconds(), abs=0.002)
    assert [moment["secondsLater"] for moment in moments] == [0, later]


@pytest.mark.parametrize("kind", ["tenant", "service"])
@pytest.mark.parametrize(
    ("method", "suffix"), [("GET", ""), ("GET", "/status"), ("GET", "/event"), ("DELETE", "")]
)
async def test_another_tenants_job_does_not_exist(
    world: World, acme: str, method: str, suffix: str, kind: str
) -> None:
    job_id = await world.job(acme)
    globex = await world.tenant("globex")
    key = globex
    headers: dict[str, str] = {}
    if kind == "service":
        key = await world.key(KeyKind.SERVICE)
        headers = {"Gateway-Tenant": globex}

    foreign = await world.call(method, f"/v1/job/{job_id}{suffix}", key, headers=headers)
    unknown = await world.call(method, f"/v1/job/{NOBODY}{suffix}", key, headers=headers)

    told = [problem(answer, 404, "NOT_FOUND") for answer in (foreign, unknown)]
    assert told[0]["detail"] == told[1]["detail"]
    assert (await world.get(f"/v1/job/{job_id}", acme))["status"] == "QUEUED"


async def test_a_job_says_what_it_waits_for_and_until_when(world: World, acme: str) -> None:
    """The credential was rejected, so its time counts and not that of the job, which is past."""
    job_id, tenant = await world.job(acme), await world.find(acme)
    async with world.deps.db.single() as tx:
        await Heart(world.deps, Identity(world.deps.ids.uuid(), "worker", "host", 1, "1")).beat()
        await tx.run(
            "UPDATE credential SET rejected_at = now(), rejected_reason = 'HTTP 401: Revoked.',"
            " paused_until = now() + interval '5 minutes' WHERE tenant_id = $1",
            tenant.id,
        )

    job = await world.get(f"/v1/job/{job_id}", acme)
    (listed,) = await world.get("/v1/job", acme)
    moments = await world.get(f"/v1/job/{job_id}/event", acme)

    wait = job["gateway"]["waitsFor"]
    assert (wait["code"], wait["position"]) == ("CREDENTIAL_REJECTED", None)
    assert "HTTP 401: Revoked" in wait["message"]
    assert job["gateway"]["nextAttemptAt"] == wait["until"] > job["createdAt"]
    assert (moments[-1]["type"], moments[-1]["text"]) == ("waiting", wait["message"])
    assert (listed["gateway"]["waitsFor"], listed["gateway"]["nextAttemptAt"]) == (None, None)
