from typing import Any

import pytest

from tests.simulator.driver import AT_ONCE, CHORDS, Driver

SLOW: dict[str, Any] = {"queueSeconds": 0, "runSeconds": 600}
FAILS: dict[str, Any] = AT_ONCE | {"outcome": "FAILED"}


async def test_newest_first_unless_switched(driver: Driver) -> None:
    ids = [await driver.submit() for _ in range(4)]
    assert await driver.ids() == ids[::-1]

    await driver.defaults(listOrder="asc")

    assert await driver.ids() == ids
    assert await driver.ids("page=1&size=3") == ids[3:]


async def test_pages_are_bare_arrays_of_a_hundred(driver: Driver) -> None:
    ids = [await driver.submit() for _ in range(103)]

    assert await driver.ids() == ids[:2:-1]
    assert await driver.ids("page=1") == ids[2::-1]
    assert await driver.ids("page=2") == []
    assert await driver.ids("size=2&page=3") == ids[-7:-9:-1]
    assert len(await driver.ids("size=1000")) == 103

    await driver.defaults(maxPageSize=10)

    assert len(await driver.ids("size=1000")) == 10


@pytest.mark.parametrize("query", ["page=-1", "page=x", "size=0", "size=1e3", "page=9999999999"])
async def test_bad_pages_are_refused(driver: Driver, query: str) -> None:
    answer = await driver.call("GET", f"/job?{query}")

    assert answer.status_code == 400
    assert query.split("=", maxsplit=1)[0] in answer.json()["message"]


async def test_filters_repeat_and_combine(driver: Driver) -> None:
    done = await driver.submit(**AT_ONCE)
    failed = await driver.submit(workflow=CHORDS, **FAILS)
    running = await driver.submit(body={"batchName": "night"}, **SLOW)

    assert await driver.ids("status=SUCCEEDED&status=FAILED") == [failed, done]
    assert await driver.ids("status=STARTED") == [running]
    assert await driver.ids("status=QUEUED") == []
    assert await driver.ids(f"workflow={CHORDS}&workflow=audio-encoder") == [failed]
    assert await driver.ids(f"workflow={CHORDS}&status=SUCCEEDED") == []
    assert await driver.ids("batchName=night") == [running]


async def test_a_status_list_follows_jobs_that_end_out_of_order(driver: Driver) -> None:
    await driver.hold_clock()
    ids = [await driver.submit(queueSeconds=0, runSeconds=100 - n) for n in range(30)]
    await driver.advance(85.5)
    ended = [job_id for n, job_id in enumerate(ids) if 100 - n <= 85]

    assert await driver.ids("status=SUCCEEDED") == ended[::-1]
    assert await driver.ids("status=SUCCEEDED&size=4&page=1") == ended[::-1][4:8]
    assert sorted(await driver.ids("status=SUCCEEDED&status=STARTED")) == sorted(ids)


async def test_lists_can_lag_behind(driver: Driver) -> None:
    await driver.hold_clock()
    lagging = await driver.submit(listLagSeconds=10)
    hidden = await driver.submit(hiddenSeconds=5)
    assert await driver.ids() == []
    assert (await driver.job(lagging))["status"] == "QUEUED"
    assert (await driver.call("GET", f"/job/{hidden}")).status_code == 404

    await driver.advance(5)
    assert await driver.ids() == [hidden]
    await driver.advance(5)
    assert await driver.ids() == [hidden, lagging]

    await driver.defaults(listLagSeconds=60)
    assert await driver.ids() == []


async def test_deleting_keeps_the_rest_in_order(driver: Driver) -> None:
    ids = [await driver.submit(**AT_ONCE) for _ in range(5)]
    await driver.ids()
    await driver.call("DELETE", f"/job/{ids[2]}")

    assert await driver.ids("status=SUCCEEDED") == [ids[4], ids[3], ids[1], ids[0]]
