from typing import Any

import httpx
import pytest

from tests.simulator.driver import AT_ONCE, STEMS, Driver

BODY = {"name": "a", "workflow": STEMS, "params": {}}


def marked(marker: Any) -> dict[str, Any]:
    return {"metadata": {"gatewayJobId": marker}}


@pytest.mark.parametrize(
    ("state", "status"), [("revoked", 401), ("unpaid", 402), ("forbidden", 403)]
)
async def test_keys_change_in_mid_life(driver: Driver, state: str, status: int) -> None:
    job_id = await driver.submit()
    await driver.control("/keys", {"key": "sim-acme", "state": state})
    assert (await driver.call("GET", f"/job/{job_id}")).status_code == status
    assert (await driver.call("POST", "/job", json=BODY)).status_code == status

    await driver.control("/keys", {"key": "sim-acme"})

    assert (await driver.call("GET", f"/job/{job_id}")).status_code == 200


async def test_any_key_can_be_added(driver: Driver) -> None:
    key = "0f1e2d3c-odd-key"
    assert (await driver.call("GET", "/application", key=key)).status_code == 401

    await driver.control("/keys", {"key": key, "name": "Odd"})

    assert (await driver.call("GET", "/application", key=key)).json()["name"] == "Odd"
    assert [known["key"] for known in await driver.control("/keys")] == [key]


async def test_workflows_can_be_added(driver: Driver) -> None:
    outputs = {"mix": ".mp3", "loudness": "-14"}
    await driver.control("/workflows", {"slug": "my-flow", "name": "Mine", "outputs": outputs})

    job = await driver.job(await driver.submit(workflow="my-flow", **AT_ONCE), prefix="/api")

    assert job["workflow"]["name"] == "Mine"
    assert job["result"]["loudness"] == "-14"
    assert (await driver.http.get(job["result"]["mix"])).headers["content-type"] == "audio/mpeg"
    assert "my-flow" in {row["slug"] for row in await driver.control("/workflows")}


async def test_submissions_are_counted_by_marker(driver: Driver) -> None:
    for marker in ("m-1", "m-2", "m-1", 3):
        await driver.submit(body=marked(marker))
    await driver.submit()

    stats = await driver.control("/stats")

    assert (stats["submissions"], stats["markers"]) == (5, 3)
    assert stats["repeated"] == {"m-1": 2}
    for marker, count in (("m-1", 2), ("3", 1), ("none", 0)):
        seen = await driver.control(f"/stats?marker={marker}")
        assert seen == {"marker": marker, "submissions": count}


async def test_calls_are_counted_by_key_and_route(driver: Driver) -> None:
    job_id = await driver.submit()
    await driver.job(job_id)
    await driver.status(job_id)
    await driver.listed(key="sim-other")
    await driver.call("GET", "/job", key="nobody")
    await driver.call("GET", "/nothing")

    stats = await driver.control("/stats")

    assert stats["calls"] == {
        "sim-acme": {"submit": 1, "get": 1, "status": 1, "unknown": 1},
        "sim-other": {"list": 1},
        "unknown": {"list": 1},
    }
    assert stats["totals"] == {"submit": 1, "get": 1, "status": 1, "list": 2, "unknown": 1}
    assert stats["statuses"] == {"200": 4, "401": 1, "404": 1}


async def test_the_request_log_shows_the_newest_first(driver: Driver) -> None:
    await driver.fault({"type": "hang", "seconds": 0}, match={"route": "upload"})
    await driver.call("GET", "/job?size=5")
    with pytest.raises(httpx.TransportError):
        await driver.call("GET", "/upload")

    newest, before = await driver.control("/requests?limit=2")

    assert (newest["route"], newest["status"], newest["wire"]["end"]) == ("upload", 0, "hang")
    assert (before["path"], before["query"], before["status"]) == ("/v1/job", "size=5", 200)
    assert before["userAgent"].startswith("python-httpx/")
    assert (before["key"], before["wire"]) == ("sim-acme", None)
    assert len(await driver.control("/requests?limit=1")) == 1


async def test_completions_are_read_on_from_where_one_stopped(driver: Driver) -> None:
    await driver.hold_clock()
    first = await driver.submit(queueSeconds=0, runSeconds=3)
    await driver.submit(body=marked("m-1"), queueSeconds=0, runSeconds=2)
    await driver.advance(2.5)
    early = await driver.control("/completions?after=0")
    await driver.advance(1)
    late = await driver.control(f"/completions?after={early['next']}")

    assert [marker for marker, _ in early["completions"]] == ["m-1"]
    [(marker, at)] = late["completions"]
    raw = await driver.control(f"/jobs/{first}")
    assert (marker, at) == (first, raw["completedAt"])
    assert at - raw["queuedAt"] == pytest.approx(3)
    assert late["next"] == 2


async def test_raw_jobs_show_what_is_to_come(driver: Driver) -> None:
    job_id = await driver.submit(body=marked("m-9"), queueSeconds=7, runSeconds=9)

    raw = await driver.control(f"/jobs/{job_id}")

    assert (raw["key"], raw["marker"], raw["status"]) == ("sim-acme", "m-9", "QUEUED")
    assert raw["steps"] == [[7, "STARTED"], [9, "SUCCEEDED"]]
    assert [job["id"] for job in await driver.control("/jobs")] == [job_id]


async def test_a_held_clock_runs_on_from_where_it_stood(driver: Driver) -> None:
    await driver.hold_clock()
    await driver.advance(100)
    held = (await driver.control("/clock"))["now"]
    assert (await driver.control("/clock"))["now"] == held

    running = await driver.control("/clock", {"frozen": False})

    assert held <= running["now"] < held + 10


async def test_reset_makes_everything_new(driver: Driver) -> None:
    await driver.control("/keys", {"key": "odd"})
    await driver.defaults(listOrder="asc")
    await driver.fault("reset", match={"route": "upload"})
    await driver.advance(1000)
    first = await driver.submit(**AT_ONCE)
    before = await driver.control()

    await driver.control("/reset", {})

    after = await driver.control()
    assert before["layers"] != after["layers"] == {}
    assert await driver.control("/keys") == []
    assert await driver.listed() == []
    assert (await driver.control("/faults"))["faults"] == []
    assert (await driver.control("/clock"))["offsetSeconds"] == 0
    assert (await driver.control("/completions"))["completions"] == []
    assert await driver.submit(**AT_ONCE) == first  # the seed draws the same ids again


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"defaults": {"listOrder": "up"}}),
        ("", {"defaults": {"plan": {"runSecs": 1}}}),
        ("", {"key": "a", "workflow": "b", "defaults": {"listOrder": "asc"}}),
        ("", {"default": {}}),
        ("/keys", {}),
        ("/keys", {"key": "a", "state": "asleep"}),
        ("/clock", {"advanceSeconds": -1}),
        ("/restart", {"jobs": "some"}),
        ("/completions", {}),
    ],
)
async def test_controls_that_make_no_sense_change_nothing(
    driver: Driver, path: str, body: Any
) -> None:
    before = await driver.control()

    answer = await driver.http.post(f"/_control{path}", json=body)

    assert answer.status_code == (404 if path == "/completions" else 400)
    assert set(answer.json()) == {"code", "title", "message"}
    assert await driver.control() == before


@pytest.mark.parametrize("path", ["/nothing", "/jobs/none", "/stats/x", "/requests?limit=x"])
async def test_unknown_views(driver: Driver, path: str) -> None:
    assert (await driver.http.get(f"/_control{path}")).status_code in {400, 404}
