import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from gateway.simulator.files.storage import MOST_BYTES, Storage
from tests.simulator.driver import AT_ONCE, STEMS, Driver


async def upload_urls(driver: Driver) -> dict[str, str]:
    return (await driver.call("GET", "/upload")).json()


def is_xml_error(answer: httpx.Response, status: int, code: str) -> bool:
    return (
        answer.status_code == status
        and answer.headers["content-type"].startswith("application/xml")
        and f"<Code>{code}</Code>" in answer.text
    )


async def test_an_upload_can_be_downloaded(driver: Driver) -> None:
    urls = await upload_urls(driver)
    content = bytes(range(256)) * 4000

    put = await driver.http.put(
        urls["uploadUrl"], content=content, headers={"Content-Type": "audio/wav"}
    )
    got = await driver.http.get(urls["downloadUrl"])

    assert put.status_code == 200
    assert got.content == content
    assert got.headers["content-type"] == "audio/wav"


async def test_a_streamed_upload_arrives_whole(driver: Driver) -> None:
    urls = await upload_urls(driver)
    pieces = [bytes([n]) * 10_000 for n in range(50)]

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    assert (await driver.http.put(urls["uploadUrl"], content=stream())).status_code == 200
    assert (await driver.http.get(urls["downloadUrl"])).content == b"".join(pieces)


async def test_signatures_hold_for_one_verb_and_one_object(driver: Driver) -> None:
    urls, other = await upload_urls(driver), await upload_urls(driver)
    path, _, query = urls["uploadUrl"].partition("?")
    foreign = other["uploadUrl"].partition("?")[2]

    for url in (
        path,
        f"{path}?{foreign}",
        f"{path}?X-Expires=9999999999&X-Signature=0",
        urls["downloadUrl"],
    ):
        answer = await driver.http.put(url, content=b"x")
        assert is_xml_error(answer, 403, "SignatureDoesNotMatch")
    assert (await driver.http.get(f"{path}?{query}")).status_code == 403


async def test_an_object_that_was_never_uploaded_is_not_found(driver: Driver) -> None:
    urls = await upload_urls(driver)
    files = urls["downloadUrl"].partition("/moises/")[0]

    assert is_xml_error(await driver.http.get(urls["downloadUrl"]), 404, "NoSuchKey")
    assert is_xml_error(await driver.http.get(f"{files}/elsewhere"), 404, "NoSuchKey")


@pytest.mark.parametrize("status", [403, 404])
async def test_uploads_expire(driver: Driver, status: int) -> None:
    await driver.defaults(uploadExpirySeconds=60, expiredStatus=status)
    urls = await upload_urls(driver)
    await driver.advance(61)

    answer = await driver.http.put(urls["uploadUrl"], content=b"x")

    assert is_xml_error(answer, status, "ExpiredToken")


async def test_a_result_is_there_until_its_job_is_deleted(driver: Driver) -> None:
    job_id = await driver.submit(workflow="music-ai/generate-chords", **AT_ONCE)
    result = (await driver.job(job_id))["result"]
    assert (result["bpm"], result["key"]) == ("120", "C major")
    assert (await driver.http.get(result["chords"])).json()[0]["chord"] == "C:maj"

    await driver.call("DELETE", f"/job/{job_id}")

    assert is_xml_error(await driver.http.get(result["chords"]), 404, "NoSuchKey")


async def test_expired_results_are_refreshed_by_reading_again(driver: Driver) -> None:
    await driver.defaults(resultExpirySeconds=60)
    job_id = await driver.submit(**AT_ONCE)
    old = (await driver.job(job_id))["result"]["vocals"]
    await driver.advance(61)
    new = (await driver.job(job_id))["result"]["vocals"]

    assert is_xml_error(await driver.http.get(old), 403, "ExpiredToken")
    assert (await driver.http.get(new)).status_code == 200


async def test_expired_results_stay_expired_when_switched(driver: Driver) -> None:
    await driver.defaults(resultExpirySeconds=60, resultRefresh=False)
    job_id = await driver.submit(**AT_ONCE)
    await driver.advance(61)

    url = (await driver.job(job_id))["result"]["vocals"]

    assert is_xml_error(await driver.http.get(url), 403, "ExpiredToken")


async def input_outcome(driver: Driver, url: str) -> Any:
    job_id = await driver.submit(params={"inputUrl": url}, **AT_ONCE)
    job = await driver.job(job_id)
    return job["error"]["message"] if job["status"] == "FAILED" else job["status"]


async def test_a_job_fails_on_an_upload_that_was_never_filled(driver: Driver) -> None:
    urls = await upload_urls(driver)
    assert await input_outcome(driver, urls["downloadUrl"]) == "File not found."

    await driver.http.put(urls["uploadUrl"], content=b"x")
    assert await input_outcome(driver, urls["downloadUrl"]) == "SUCCEEDED"
    assert await input_outcome(driver, urls["uploadUrl"]) == "File not found."

    await driver.advance(200_000)
    assert await input_outcome(driver, urls["downloadUrl"]) == "File not found."
    await driver.defaults(inputCheck="off")
    assert await input_outcome(driver, urls["downloadUrl"]) == "SUCCEEDED"


async def test_a_result_may_be_the_next_input(driver: Driver) -> None:
    result = (await driver.job(await driver.submit(**AT_ONCE)))["result"]

    assert await input_outcome(driver, result["vocals"]) == "SUCCEEDED"


async def until_ended(driver: Driver, job_id: str) -> dict[str, Any]:
    while (job := await driver.job(job_id))["completedAt"] is None:
        pass
    return job


async def test_foreign_inputs_are_fetched_when_switched(driver: Driver) -> None:
    await driver.defaults(inputCheck="fetch")
    base = str(driver.http.base_url).rstrip("/")
    inputs = {
        f"{base}/_control/stats?limit=1": 0.5,
        f"{base}/nothing-here": 600,
        "http://127.0.0.1:1/closed": 600,
    }

    jobs = [
        await until_ended(
            driver,
            await driver.submit(params={"inputUrl": url}, queueSeconds=0, runSeconds=seconds),
        )
        for url, seconds in inputs.items()
    ]

    assert [job["status"] for job in jobs] == ["SUCCEEDED", "FAILED", "FAILED"]
    assert jobs[1]["error"]["code"] == "BAD_INPUT"


async def copy(driver: Driver, url: str) -> dict[str, Any]:
    job_id = await driver.submit(body={"copyResultsTo": {"vocals": url}}, **AT_ONCE)
    return await until_ended(driver, job_id)


async def test_results_are_copied_to_the_place_asked_for(driver: Driver) -> None:
    urls = await upload_urls(driver)

    job = await copy(driver, urls["uploadUrl"])

    assert job["status"] == "SUCCEEDED"
    assert job["result"]["vocals"] == "[custom storage]"
    assert job["result"]["accompaniments"].startswith("http")
    assert (await driver.http.get(urls["downloadUrl"])).content[:4] == b"RIFF"


@pytest.mark.parametrize(("switch", "outcome"), [("fail", "FAILED"), ("succeed", "SUCCEEDED")])
async def test_a_copy_that_fails_decides_as_switched(
    driver: Driver, switch: str, outcome: str
) -> None:
    await driver.defaults(copyFailure=switch)
    await driver.fault({"type": "respond", "status": 500}, match={"route": "files"}, times=1)
    urls = await upload_urls(driver)

    job = await copy(driver, urls["uploadUrl"])

    assert job["status"] == outcome
    assert (await driver.http.get(urls["downloadUrl"])).status_code == 404


async def test_a_copy_to_nowhere_fails_the_job(driver: Driver) -> None:
    assert (await copy(driver, "http://127.0.0.1:1/closed"))["status"] == "FAILED"
    assert (await copy(driver, "nonsense"))["status"] == "FAILED"


async def test_a_copy_under_way_is_dropped_with_its_job(driver: Driver) -> None:
    await driver.fault({"type": "delay", "seconds": 0.6}, match={"route": "files"})
    urls = await upload_urls(driver)
    ids = [
        await driver.submit(body={"copyResultsTo": {"vocals": urls["uploadUrl"]}}, **AT_ONCE)
        for _ in range(2)
    ]
    assert [await driver.status(job_id) for job_id in ids] == ["STARTED", "STARTED"]
    await driver.call("DELETE", f"/job/{ids[0]}")
    await driver.control(f"/jobs/{ids[1]}", {"status": "FAILED"})
    await asyncio.sleep(0.9)

    assert await driver.ids() == [ids[1]]
    assert await driver.status(ids[1]) == "FAILED"
    assert len((await driver.control("/completions"))["completions"]) == 1


async def test_file_urls_can_be_hit_by_faults(driver: Driver) -> None:
    urls = await upload_urls(driver)
    await driver.fault({"type": "respond", "status": 503}, match={"route": "files"})

    assert (await driver.http.put(urls["uploadUrl"], content=b"x")).status_code == 503
    body = {"name": "a", "workflow": STEMS, "params": {}}
    assert (await driver.call("POST", "/job", json=body)).status_code == 200


def test_storage_forgets_the_oldest_beyond_its_bound() -> None:
    storage = Storage()
    half = bytes(MOST_BYTES // 2)
    for name in ("a", "b", "c"):
        storage.put(name, half, "x")

    assert storage.get("a") is None
    assert storage.get("b") == storage.get("c") == (half, "x")
