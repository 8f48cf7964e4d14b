import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.simulator.driver import AT_ONCE, CHORDS, STEMS, Driver

BODY = {"name": "a", "workflow": STEMS, "params": {"simulate": AT_ONCE}}
MARKED = BODY | {"metadata": {"gatewayJobId": "m-1"}}


def respond(status: int, **more: Any) -> dict[str, Any]:
    return {"type": "respond", "status": status, **more}


async def submissions(driver: Driver) -> int:
    return (await driver.control("/stats"))["submissions"]


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/job", "submit"),
        ("GET", "/job", "list"),
        ("GET", "/job/x", "get"),
        ("GET", "/job/x/status", "status"),
        ("DELETE", "/job/x", "delete"),
        ("GET", "/workflow", "workflows"),
        ("GET", "/application", "application"),
        ("GET", "/upload", "upload"),
    ],
)
async def test_each_route_can_be_hit_alone(
    driver: Driver, method: str, path: str, route: str
) -> None:
    await driver.fault(respond(418), match={"route": route})

    assert (await driver.call(method, path, json=BODY)).status_code == 418
    others = {"/job", "/workflow", "/application", "/upload"} - (
        {path} if method == "GET" else set()
    )
    for other in others:
        assert (await driver.call("GET", other)).status_code == 200


async def test_faults_match_method_key_and_workflow(driver: Driver) -> None:
    await driver.fault(respond(500), match={"method": "DELETE"})
    await driver.fault(respond(501), match={"key": "sim-b"})
    await driver.fault(respond(503), match={"workflow": CHORDS})

    assert (await driver.call("GET", "/application")).status_code == 200
    assert (await driver.call("DELETE", "/job/x")).status_code == 500
    assert (await driver.call("GET", "/application", key="sim-b")).status_code == 501
    assert (await driver.call("POST", "/job", json=BODY)).status_code == 200
    assert (await driver.call("POST", "/job", json=BODY | {"workflow": CHORDS})).status_code == 503
    assert (await driver.call("POST", "/job", content=b"{")).status_code == 400


async def test_the_workflow_of_a_job_is_matched_when_it_is_read(driver: Driver) -> None:
    chords, stems = await driver.submit(workflow=CHORDS), await driver.submit()
    await driver.fault(respond(500), match={"workflow": CHORDS, "route": "status"})

    assert (await driver.call("GET", f"/job/{chords}/status")).status_code == 500
    assert (await driver.call("GET", f"/job/{stems}/status")).status_code == 200


async def test_a_fault_wears_off(driver: Driver) -> None:
    added = await driver.fault(respond(500), times=2)

    statuses = [(await driver.call("GET", "/job")).status_code for _ in range(4)]

    assert statuses == [500, 500, 200, 200]
    listed = await driver.control("/faults")
    assert [(f["id"], f["hits"], f["left"]) for f in listed["faults"]] == [(added["id"], 2, 0)]
    assert listed["hits"] == 2


async def test_faults_are_removed_by_id_or_all_at_once(driver: Driver) -> None:
    ids = [(await driver.fault(respond(500 + n)))["id"] for n in range(3)]

    await driver.http.delete(f"/_control/faults/{ids[0]}")
    assert (await driver.call("GET", "/job")).status_code == 501
    assert (await driver.http.delete(f"/_control/faults/{ids[0]}")).status_code == 404

    await driver.http.delete("/_control/faults")
    assert (await driver.call("GET", "/job")).status_code == 200
    assert (await driver.control("/faults"))["faults"] == []


async def test_probability_is_drawn_from_the_seed(driver: Driver) -> None:
    async def pattern() -> list[int]:
        await driver.control("/reset", {})
        await driver.fault(respond(500), probability=0.5)
        return [(await driver.call("GET", "/job")).status_code for _ in range(40)]

    first, second = await pattern(), await pattern()

    assert first == second
    assert set(first) == {200, 500}


@pytest.mark.parametrize("status", [402, 403, 429, 500, 502, 503, 504])
async def test_statuses_come_with_the_envelope(driver: Driver, status: int) -> None:
    await driver.fault(respond(status, code="ODD"))

    answer = await driver.call("GET", "/job")

    assert answer.status_code == status
    assert answer.json()["code"] == "ODD"
    assert "retry-after" not in answer.headers


@pytest.mark.parametrize(
    ("action", "content_type", "start"),
    [
        (respond(502, body="html"), "text/html; charset=utf-8", b"<html>"),
        (respond(200, body="html"), "text/html; charset=utf-8", b"<html>"),
        (respond(200, body="truncated"), "application/json", b'{"id": "'),
        (respond(200, text="[]", contentType="text/plain"), "text/plain", b"[]"),
        (respond(500, body="empty"), "application/json", b""),
    ],
)
async def test_bodies(
    driver: Driver, action: dict[str, Any], content_type: str, start: bytes
) -> None:
    await driver.fault(action)

    answer = await driver.call("GET", "/job")

    assert answer.headers["content-type"] == content_type
    assert answer.content.startswith(start)
    assert (answer.content == b"") == (start == b"")


async def test_a_huge_body_arrives_whole(driver: Driver) -> None:
    await driver.fault(respond(200, body="huge", bytes=5_000_000))

    assert len((await driver.call("GET", "/job")).content) == 5_000_000


async def test_retry_after_in_seconds_as_a_date_and_by_header(driver: Driver) -> None:
    for more in (
        {"retryAfter": 3},
        {"retryAfter": 60, "retryAfterFormat": "date"},
        {"headers": {"Retry-After": "soon", "X-Odd": "1"}},
    ):
        await driver.fault(respond(429, **more), times=1)

    seconds, date, header = [(await driver.call("GET", "/job")).headers for _ in range(3)]

    assert seconds["retry-after"] == "3"
    assert parsedate_to_datetime(date["retry-after"]).timestamp() == pytest.approx(
        time.time() + 60, abs=10
    )
    assert (header["retry-after"], header["x-odd"]) == ("soon", "1")


async def test_a_refused_request_does_nothing(driver: Driver) -> None:
    await driver.fault(respond(500), match={"route": "submit"})

    await driver.call("POST", "/job", json=MARKED)

    assert await submissions(driver) == 0


@pytest.mark.parametrize(
    "action",
    [
        {"type": "ambiguous", "then": respond(500)},
        {"type": "ambiguous", "then": respond(200, body="html")},
        {"type": "ambiguous", "then": "reset"},
        {"type": "ambiguous", "then": "close"},
        {"type": "ambiguous", "then": "hang", "hangSeconds": 0.1},
        {"type": "cut"},
    ],
)
async def test_an_ambiguous_submit_makes_the_job_and_loses_the_answer(
    driver: Driver, action: dict[str, Any]
) -> None:
    await driver.fault(action, match={"route": "submit"}, times=1)

    try:
        answer = await driver.call("POST", "/job", json=MARKED)
        assert answer.status_code == 500 or "html" in answer.headers["content-type"]
    except httpx.TransportError:
        pass

    assert await submissions(driver) == 1
    [job] = await driver.listed()
    assert job["metadata"] == {"gatewayJobId": "m-1"}


async def test_settings_can_hold_for_one_request(driver: Driver) -> None:
    job_id = await driver.submit(**AT_ONCE)
    await driver.fault(
        {"type": "settings", "settings": {"showStatus": "CANCELLED"}},
        match={"route": "get"},
        times=1,
    )

    assert (await driver.job(job_id))["status"] == "CANCELLED"
    assert (await driver.job(job_id))["status"] == "SUCCEEDED"


async def test_settings_of_a_submit_script_that_job(driver: Driver) -> None:
    settings = {"plan": {"outcome": "FAILED", "errorCode": "TIMEOUT"}}
    await driver.fault({"type": "settings", "settings": settings}, times=1)

    first, second = [await driver.submit(**AT_ONCE) for _ in range(2)]

    assert (await driver.job(first))["error"]["code"] == "TIMEOUT"
    assert (await driver.job(second))["error"] is None


@pytest.mark.parametrize(
    "fault",
    [
        {"action": {"type": "explode"}},
        {"action": {"type": "respond"}},
        {"action": {"type": "delay", "seconds": "x"}},
        {"action": {"type": "reset"}, "match": {"route": "everything"}},
        {"action": {"type": "reset"}, "times": 0},
        {"action": {"type": "settings", "settings": {"listOrdr": "asc"}}},
        {"action": {"type": "reset"}, "extra": 1},
    ],
)
async def test_faults_that_make_no_sense_are_refused(driver: Driver, fault: Any) -> None:
    answer = await driver.http.post("/_control/faults", json=fault)

    assert answer.status_code == 400
    assert (await driver.control("/faults"))["faults"] == []


async def test_chaos_is_repeatable_and_ends(driver: Driver) -> None:
    chaos = {"chaos": {"seed": 7, "rate": 0.5, "kinds": ["500", "502", "429", "truncated"]}}

    async def pattern() -> list[tuple[int, bytes]]:
        await driver.control("", chaos)
        answers = [await driver.call("GET", "/job") for _ in range(30)]
        return [(answer.status_code, answer.content) for answer in answers]

    first, second = await pattern(), await pattern()

    assert first == second
    assert len(set(first)) == 5
    await driver.control("", {"chaos": None})
    assert {(await driver.call("GET", "/job")).status_code for _ in range(20)} == {200}


async def test_chaos_of_unknown_kinds_is_refused(driver: Driver) -> None:
    answer = await driver.http.post("/_control", json={"chaos": {"kinds": ["comet"]}})

    assert answer.status_code == 400
    assert "comet" in answer.json()["message"]
