from typing import Any
from uuid import UUID

import pytest

from tests.simulator.driver import AT_ONCE, CHORDS, KEY, STEMS, Driver

JOB_KEYS = [
    "id", "app", "name", "batchName", "metadata", "workflow", "workflowParams", "status",
    "result", "error", "createdAt", "startedAt", "completedAt",
]  # fmt: skip


@pytest.mark.parametrize("key", ["", "nobody", "sim-", "Bearer sim-acme"])
@pytest.mark.parametrize("path", ["/job", "/job/x", "/upload", "/workflow", "/application"])
async def test_unknown_keys_are_refused(driver: Driver, key: str, path: str) -> None:
    answer = await driver.call("GET", path, key=key)

    assert answer.status_code == 401
    assert set(answer.json()) == {"code", "title", "message"}


async def test_any_simulated_key_is_an_application(driver: Driver) -> None:
    first = (await driver.call("GET", "/application", key="sim-blue-note")).json()
    again = (await driver.call("GET", "/application", key="sim-blue-note", prefix="/api")).json()

    assert first["name"] == "Blue Note"
    assert str(UUID(first["id"])) == first["id"]
    assert again == first


async def test_jobs_are_seen_only_by_their_key(driver: Driver) -> None:
    job_id = await driver.submit()

    for method, path in (("GET", ""), ("GET", "/status"), ("DELETE", "")):
        answer = await driver.call(method, f"/job/{job_id}{path}", key="sim-other")
        assert answer.status_code == 404
    assert await driver.listed(key="sim-other") == []
    assert await driver.ids() == [job_id]


async def test_a_submission_is_answered_by_its_id_alone(driver: Driver) -> None:
    body = {"name": "a", "workflow": STEMS, "params": {}}
    answers = [await driver.call("POST", "/job", json=body) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [set(answer.json()) for answer in answers] == [{"id"}, {"id"}]
    ids = {answer.json()["id"] for answer in answers}
    assert {UUID(job_id).version for job_id in ids} == {4}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": "a", "params": {}}',
        b'{"name": "a", "workflow": "audio-encoder"}',
        b'{"name": "a", "workflow": 3, "params": {}}',
        b'{"name": "a", "workflow": "audio-encoder", "params": []}',
        b'{"name": "a", "workflow": "audio-encoder", "params": {}, "metadata": 3}',
        b'{"name": "a", "workflow": "audio-encoder", "params": {"simulate": {"runSecond": 1}}}',
        b'{"name": "a", "workflow": "audio-encoder", "params": {"simulate": 3}}',
        b'{"name": "\xff", "workflow": "audio-encoder", "params": {}}',
    ],
)
async def test_malformed_submissions_leave_nothing(driver: Driver, content: bytes) -> None:
    answer = await driver.call("POST", "/job", content=content)

    assert answer.status_code == 400
    assert answer.json()["code"] == "BAD_INPUT"
    assert await driver.listed() == []


@pytest.mark.parametrize("refusal", [400, 404, 422])
async def test_unknown_workflows_are_refused_as_switched(driver: Driver, refusal: int) -> None:
    await driver.defaults(unknownWorkflow=refusal)

    answer = await driver.call(
        "POST", "/job", json={"name": "a", "workflow": "no-such", "params": {}}
    )

    assert answer.status_code == refusal
    assert "no-such" in answer.json()["message"]


async def test_unknown_workflows_can_be_accepted(driver: Driver) -> None:
    await driver.defaults(unknownWorkflow="accept")

    job_id = await driver.submit(workflow="brand-new", **AT_ONCE)

    assert set((await driver.job(job_id))["result"]) == {"Output 1"}


async def test_a_workflow_may_be_named_by_its_id(driver: Driver) -> None:
    workflows = (await driver.call("GET", "/workflow")).json()["workflows"]
    chords = next(workflow for workflow in workflows if workflow["slug"] == CHORDS)

    job_id = await driver.submit(workflow=chords["id"])

    assert (await driver.job(job_id))["workflow"] == CHORDS


async def test_a_missing_name_is_refused_only_when_required(driver: Driver) -> None:
    body = {"workflow": STEMS, "params": {}}
    assert (await driver.call("POST", "/job", json=body)).status_code == 200

    await driver.defaults(requireName=True)

    assert (await driver.call("POST", "/job", json=body)).status_code == 400


async def test_states_follow_the_script(driver: Driver) -> None:
    await driver.hold_clock()
    job_id = await driver.submit(queueSeconds=5, runSeconds=10)
    seen: list[tuple[Any, ...]] = []
    for seconds in (0, 5, 10):
        await driver.advance(seconds)
        job = await driver.job(job_id)
        assert await driver.status(job_id) == job["status"]
        present = [name for name in ("startedAt", "completedAt", "result") if job[name] is not None]
        seen.append((job["status"], present))

    assert seen == [
        ("QUEUED", []),
        ("STARTED", ["startedAt"]),
        ("SUCCEEDED", ["startedAt", "completedAt", "result"]),
    ]


async def test_instants_are_those_planned_not_those_noticed(driver: Driver) -> None:
    await driver.hold_clock()
    job_id = await driver.submit(queueSeconds=5, runSeconds=10)
    await driver.advance(3600)

    raw = await driver.control(f"/jobs/{job_id}")

    assert raw["startedAt"] - raw["queuedAt"] == pytest.approx(5)
    assert raw["completedAt"] - raw["queuedAt"] == pytest.approx(15)


async def test_a_job_has_every_key_in_both_generations(driver: Driver) -> None:
    params = {"inputUrl": "https://media.example.com/a.wav", "Input 1": [1, {"deep": True}]}
    metadata = {"user": 123, "tag": "x"}
    job_id = await driver.submit(params=params, body={"metadata": metadata}, **AT_ONCE)

    new, old = await driver.job(job_id), await driver.job(job_id, prefix="/api")

    assert list(new) == JOB_KEYS
    assert new["app"] == "Acme"
    assert new["metadata"] == metadata
    assert new["workflowParams"] == params | {"simulate": AT_ONCE}
    assert new["workflow"] == STEMS
    assert old["workflow"].keys() == {"id", "name"}
    assert {**old, "workflow": ""} == {**new, "workflow": ""}


@pytest.mark.parametrize(
    ("shape", "missing", "is_object"),
    [
        ("gen0", {"app", "batchName", "error", "metadata"}, True),
        ("gen1", {"app", "batchName", "error"}, True),
        ("gen2", {"error"}, False),
        ("current", set[str](), False),
    ],
)
async def test_old_shapes(driver: Driver, shape: str, missing: set[str], is_object: bool) -> None:
    job_id = await driver.submit(**AT_ONCE)
    await driver.defaults(shape=shape)

    job = await driver.job(job_id)

    assert set(JOB_KEYS) - job.keys() == missing
    assert isinstance(job["workflow"], dict) == is_object
    status = await driver.call("GET", f"/job/{job_id}/status")
    assert status.status_code == (404 if shape == "gen0" else 200)


async def test_keys_can_be_omitted_and_added(driver: Driver) -> None:
    job_id = await driver.submit(omitKeys=["startedAt"], extraFields={"progress": 40}, **AT_ONCE)
    await driver.defaults(omitKeys=["app"], extraFields={"region": "eu"})

    job = await driver.job(job_id)

    assert set(JOB_KEYS) - job.keys() == {"startedAt", "app"}
    assert (job["progress"], job["region"]) == (40, "eu")


async def test_deleted_jobs_are_gone_even_while_they_run(driver: Driver) -> None:
    job_id = await driver.submit(queueSeconds=0, runSeconds=600)
    assert await driver.status(job_id) == "STARTED"

    first = await driver.call("DELETE", f"/job/{job_id}")

    assert (first.status_code, first.json()) == (200, {"id": job_id})
    for method, path in (("DELETE", ""), ("GET", ""), ("GET", "/status")):
        assert (await driver.call(method, f"/job/{job_id}{path}")).status_code == 404
    assert await driver.listed() == []


async def test_workflows_come_in_either_envelope(driver: Driver) -> None:
    wrapped = (await driver.call("GET", "/workflow")).json()
    await driver.defaults(workflowEnvelope="array")
    bare = (await driver.call("GET", "/workflow?page=1&size=2")).json()

    assert {STEMS, CHORDS, "audio-encoder"} <= {row["slug"] for row in wrapped["workflows"]}
    assert bare == wrapped["workflows"][2:4]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/job"),
        ("POST", "/upload"),
        ("GET", "/nothing"),
        ("GET", "/job/a/b"),
        ("POST", "/job/a"),
    ],
)
async def test_unknown_routes_are_not_found(driver: Driver, method: str, path: str) -> None:
    assert (await driver.call(method, path, key=KEY)).status_code == 404
