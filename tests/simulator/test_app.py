from collections.abc import AsyncIterator
from typing import Any, cast

import httpx
import pytest
from litestar.exceptions import LitestarException

from gateway.simulator.app import create_app
from gateway.simulator.state import State
from tests.simulator.driver import AT_ONCE, Driver


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    transport = httpx.ASGITransport(cast("Any", create_app(seed=3)))
    async with httpx.AsyncClient(transport=transport, base_url="http://simulator.test") as http:
        yield Driver(http)


async def test_the_app_serves_api_control_and_files(driver: Driver) -> None:
    urls = (await driver.call("GET", "/upload")).json()
    assert (await driver.http.put(urls["uploadUrl"], content=b"song")).status_code == 200
    assert (await driver.http.get(urls["downloadUrl"])).content == b"song"

    job = await driver.job(await driver.submit(params={"inputUrl": urls["downloadUrl"]}, **AT_ONCE))

    assert job["status"] == "SUCCEEDED"
    assert (await driver.http.get(job["result"]["vocals"])).content[:4] == b"RIFF"
    assert (await driver.control("/stats"))["submissions"] == 1


async def test_faults_work_in_process(driver: Driver) -> None:
    await driver.fault({"type": "respond", "status": 429, "retryAfter": 2}, times=1)
    assert (await driver.call("GET", "/job")).headers["retry-after"] == "2"

    await driver.fault({"type": "ambiguous", "then": "reset"}, times=1)
    with pytest.raises(LitestarException):
        await driver.submit()
    assert len(await driver.listed()) == 1


async def test_a_huge_body_and_a_hang_work_in_process(driver: Driver) -> None:
    await driver.fault({"type": "respond", "status": 200, "body": "huge", "bytes": 9000}, times=1)
    assert len((await driver.call("GET", "/job")).content) == 9000

    await driver.fault({"type": "hang", "seconds": 0}, times=1)
    with pytest.raises(LitestarException):
        await driver.call("GET", "/job")


async def test_a_restart_needs_the_sockets(driver: Driver) -> None:
    answer = await driver.http.post("/_control/restart", json={})

    assert answer.status_code == 409


async def test_two_apps_can_share_a_state() -> None:
    state = State(1)
    for path in ("/v1/job", "/api/job"):
        transport = httpx.ASGITransport(cast("Any", create_app(state)))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
            assert (await http.get(path, headers={"Authorization": "sim-a"})).json() == []

    assert state.record.totals() == {"list": 2}
