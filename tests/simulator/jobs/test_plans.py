from random import Random
from typing import Any

import pytest

from gateway.simulator.jobs.plans import Plan, draw
from tests.simulator.driver import AT_ONCE, Driver

FAILED: dict[str, Any] = AT_ONCE | {"outcome": "FAILED"}


def test_the_same_seed_draws_the_same_scripts() -> None:
    plan = Plan(failure_rate=0.5)

    first, second, other = (
        [draw(plan, rng) for rng in [Random(seed)] for _ in range(50)] for seed in (1, 1, 2)
    )

    assert first == second
    assert first != other
    assert {script.steps[-1][1] for script in first} == {"SUCCEEDED", "FAILED"}


def test_draws_stay_within_their_ranges() -> None:
    rng = Random(3)
    scripts = [draw(Plan(queue_seconds=(0.1, 0.3), run_seconds=2), rng) for _ in range(200)]

    queued = [script.steps[0][0] for script in scripts]
    assert 0.1 <= min(queued) < max(queued) <= 0.3
    assert {script.steps[1] for script in scripts} == {(2, "SUCCEEDED")}


@pytest.mark.parametrize("code", ["BAD_INPUT", "TIMEOUT", "INTERNAL_ERROR", "WEATHER"])
async def test_failures_carry_a_code(driver: Driver, code: str) -> None:
    job = await driver.job(await driver.submit(errorCode=code, **FAILED))

    assert job["status"] == "FAILED"
    assert job["result"] is None
    assert job["error"]["code"] == code
    assert set(job["error"]) == {"code", "title", "message"}


@pytest.mark.parametrize("error", [None, "it broke", {"code": 3, "odd": []}])
async def test_failures_carry_any_error(driver: Driver, error: Any) -> None:
    assert (await driver.job(await driver.submit(error=error, **FAILED)))["error"] == error


@pytest.mark.parametrize("result", [None, {}, "text", ["a"], {"bpm": "64", "n": 3, "x": None}])
async def test_successes_carry_any_result(driver: Driver, result: Any) -> None:
    assert (await driver.job(await driver.submit(result=result, **AT_ONCE)))["result"] == result


async def test_result_shapes(driver: Driver) -> None:
    async def result(shape: str) -> Any:
        return (await driver.job(await driver.submit(resultShape=shape, **AT_ONCE)))["result"]

    assert await result("null") is None
    assert await result("empty") == {}
    assert len(await result("many")) >= 50
    mixed = await result("mixed")
    assert {type(value) for value in mixed.values()} == {str, int, bool, list, dict, type(None)}
    assert mixed["stored"] == "[custom storage]"
    names = await result("unicode")
    assert {"Kick drum", "歌声"} <= names.keys()


async def test_named_files_become_signed_urls(driver: Driver) -> None:
    job = await driver.job(await driver.submit(result={"a": "file:my take.wav"}, **AT_ONCE))

    answer = await driver.http.get(job["result"]["a"])

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"


async def test_a_job_may_fail_without_ever_starting(driver: Driver) -> None:
    job = await driver.job(await driver.submit(skipStarted=True, **FAILED))

    assert (job["status"], job["startedAt"]) == ("FAILED", None)


@pytest.mark.parametrize("state", ["QUEUED", "STARTED"])
async def test_stuck_jobs_stay_until_forced(driver: Driver, state: str) -> None:
    job_id = await driver.submit(stuck=state, queueSeconds=0)
    await driver.advance(1_000_000)
    assert await driver.status(job_id) == state

    await driver.control(f"/jobs/{job_id}", {"status": "SUCCEEDED"})

    job = await driver.job(job_id)
    assert job["status"] == "SUCCEEDED"
    assert job["completedAt"] is not None


async def test_a_sequence_may_go_anywhere(driver: Driver) -> None:
    await driver.hold_clock()
    sequence = [[1, "STARTED"], [1, "PENDING"], [1, "QUEUED"], [1, "SUCCEEDED"], [1, "STARTED"]]
    job_id = await driver.submit(statusSequence=sequence)
    seen: list[str] = []
    for _ in range(6):
        seen.append(await driver.status(job_id))
        assert await driver.ids(f"status={seen[-1]}") == [job_id]
        await driver.advance(1)

    assert seen == ["QUEUED", "STARTED", "PENDING", "QUEUED", "SUCCEEDED", "STARTED"]


async def test_the_full_job_may_lag_behind_its_status(driver: Driver) -> None:
    job_id = await driver.submit(staleReads=1, **AT_ONCE)
    assert await driver.status(job_id) == "SUCCEEDED"

    first, second = await driver.job(job_id), await driver.job(job_id)

    assert (first["status"], first["result"], first["completedAt"]) == ("STARTED", None, None)
    assert second["status"] == "SUCCEEDED"
    assert second["result"] is not None


async def test_defaults_layer_from_global_to_job(driver: Driver) -> None:
    chords = "music-ai/generate-chords"
    await driver.defaults(plan=AT_ONCE)
    await driver.control(
        "", {"workflow": chords, "defaults": {"plan": {"outcome": "FAILED", "errorCode": "A"}}}
    )
    await driver.control("", {"key": "sim-k", "defaults": {"plan": {"errorCode": "B"}}})

    async def end(**submission: Any) -> Any:
        key = submission.get("key", "sim-acme")
        job = await driver.job(await driver.submit(**submission), key=key)
        return job["error"] and job["error"]["code"]

    assert await end() is None
    assert await end(workflow=chords) == "A"
    assert await end(workflow=chords, key="sim-k") == "B"
    assert await end(workflow=chords, key="sim-k", errorCode="C") == "C"


async def test_concurrency_queues_beyond_the_limit(driver: Driver) -> None:
    await driver.hold_clock()
    await driver.defaults(concurrencyLimit=2)
    ids = [await driver.submit(queueSeconds=1, runSeconds=9) for _ in range(5)]
    await driver.advance(5)
    assert [await driver.status(i) for i in ids] == ["STARTED"] * 2 + ["QUEUED"] * 3

    await driver.advance(11)
    assert [await driver.status(i) for i in ids] == ["SUCCEEDED"] * 2 + ["STARTED"] * 2 + ["QUEUED"]
    raw = await driver.control(f"/jobs/{ids[2]}")
    assert raw["startedAt"] - raw["queuedAt"] == pytest.approx(11)

    await driver.call("DELETE", f"/job/{ids[2]}")
    await driver.advance(1)
    assert await driver.status(ids[4]) == "STARTED"


async def test_raising_the_limit_starts_waiting_jobs(driver: Driver) -> None:
    await driver.hold_clock()
    await driver.defaults(concurrencyLimit=1)
    ids = [await driver.submit(queueSeconds=0, runSeconds=50) for _ in range(3)]
    await driver.defaults(concurrencyLimit=None)
    await driver.advance(1)

    assert {await driver.status(i) for i in ids} == {"STARTED"}


async def test_concurrency_may_refuse_beyond_the_limit(driver: Driver) -> None:
    await driver.defaults(concurrencyLimit=1, concurrencyPolicy="refuse")
    await driver.submit(runSeconds=600)

    body = {"name": "a", "workflow": "audio-encoder", "params": {}}
    refused = await driver.call("POST", "/job", json=body)
    other = await driver.call("POST", "/job", json=body, key="sim-other")

    assert (refused.status_code, other.status_code) == (429, 200)
    assert refused.headers["retry-after"] == "1"
