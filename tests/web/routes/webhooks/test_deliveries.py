"""Deliveries: list, read with every attempt, resend."""

from typing import Any
from uuid import UUID

import pytest

from gateway.core.lifecycle import Finish
from gateway.core.model import JobState
from tests.web.conftest import NOBODY, World, fields_of, next_page, problem
from tests.web.webhooks import BODY, delivery, endpoint, failed, succeeded, tried

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _ids(world: World, slug: str, query: str = "") -> list[str]:
    return [one["id"] for one in await world.get(f"/v1/delivery?{query}", slug)]


class TestList:
    async def test_filters(self, world: World, acme: str) -> None:
        first, second = await endpoint(world, acme), await endpoint(world, acme)
        job = await world.job(acme)
        made = {
            "waits": await delivery(world, acme, first, job=job, kind="job.started"),
            "failed": await failed(world, acme, first),
            "done": await succeeded(world, acme, second, kind="job.failed"),
            "own": await delivery(world, acme, None, kind="job.failed"),
            "parked": await delivery(world, acme, second, state="parked"),
        }
        await tried(world, acme, made["own"], "pending", status=None, error_class="timeout")
        cases = {
            "": ["parked", "own", "done", "failed", "waits"],
            f"endpoint={first}": ["failed", "waits"],
            f"endpoint={first}&endpoint={second}": ["parked", "done", "failed", "waits"],
            f"endpoint={NOBODY}": [],
            "status=pending": ["own", "waits"],
            "status=exhausted&status=parked": ["parked", "failed"],
            "event=job.started&event=job.failed": ["own", "done", "waits"],
            f"job={job}": ["waits"],
            "outcome=delivered": ["done"],
            "outcome=http_5xx": ["failed"],
            "outcome=timeout&outcome=delivered": ["own", "done"],
            "httpStatus=500": ["failed"],
            "httpStatus=404&httpStatus=500": ["failed"],
            "httpStatus=404": [],
            "createdAfter=2001-01-01T00:00:00": ["parked", "own", "done", "failed", "waits"],
            "createdBefore=2001-01-01T00:00:00Z": [],
            "resentAfter=2001-01-01T00:00:00Z": [],
            f"status=pending&endpoint={first}": ["waits"],
        }

        for query, expected in cases.items():
            assert await _ids(world, acme, query) == [made[name] for name in expected], query

    async def test_resent_deliveries_are_found_by_their_time(self, world: World, acme: str) -> None:
        made = await failed(world, acme, await endpoint(world, acme))
        await failed(world, acme, await endpoint(world, acme))
        again = await world.send("POST", f"/v1/delivery/{made}/resend", acme)

        assert await _ids(world, acme, "resentAfter=2001-01-01T00:00:00Z") == [made]
        assert await _ids(world, acme, f"resentAfter={again['resentAt']}") in ([made], [])
        assert await _ids(world, acme, "resentAfter=2999-01-01T00:00:00Z") == []

    async def test_links_lead_through_all_pages(self, world: World, acme: str) -> None:
        to = await endpoint(world, acme)
        made = [await delivery(world, acme, to) for _ in range(5)]
        await delivery(world, acme, None)
        seen: list[list[str]] = []
        path = f"/v1/delivery?size=2&endpoint={to}"
        while path:
            answer = await world.call("GET", path, acme)
            seen.append([one["id"] for one in answer.json()])
            path = next_page(answer)

        assert seen == [made[4:2:-1], made[2:0:-1], made[:1]]

    async def test_a_bad_query_is_refused(self, world: World, acme: str) -> None:
        bad = [
            "endpoint=nope",
            "endpoint=",
            "job=nope",
            "status=QUEUED",
            "status=pending&status=lost",
            "event=job.exploded",
            "outcome=bad",
            "httpStatus=200",
            "httpStatus=99",
            "createdAfter=yesterday",
            "createdBefore=0001-01-01T00:00:00%2B14:00",
            "resentAfter=9999-12-31T23:59:59-14:00",
            "createdAfter=",
            "createdAfter=2026",
            "size=0",
            "size=1001",
            "size=two",
            "cursor=nonsense",
            "page=0",
            "color=red",
        ]
        for query in bad:
            answer = await world.call("GET", f"/v1/delivery?{query}", acme)
            named = fields_of(problem(answer, 400, "BAD_REQUEST"))
            assert named == [query.partition("=")[0]], query

        body = (await world.call("GET", "/v1/delivery?outcome=bad", acme)).json()
        assert "http_5xx" in body["detail"]

    async def test_ids_of_other_tenants_find_nothing(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        to = await endpoint(world, acme)
        await delivery(world, acme, to)
        for _ in range(2):
            await delivery(world, acme, None)
        link = next_page(await world.call("GET", "/v1/delivery?size=1", acme))

        assert await _ids(world, globex, f"endpoint={to}") == []
        assert await world.get(link, globex) == []


class TestRead:
    async def test_every_attempt_is_shown(self, world: World, acme: str) -> None:
        to = await endpoint(world, acme)
        made = await delivery(world, acme, to)
        timings = '{"dns":0.0012346,"connect":0.02,"tls":0.03,"firstByte":1.5}'
        await tried(world, acme, made, "pending", timings=timings)

        shown = await world.get(f"/v1/delivery/{made}", acme)

        (attempt,) = shown.pop("attempts")
        assert shown.pop("requestBody") == BODY
        assert await world.get("/v1/delivery", acme) == [shown]
        expected: dict[str, Any] = {
            "type": "test.ping",
            "jobId": None,
            "endpointId": to,
            "url": "https://hooks.example.com/a",
            "state": "pending",
            "outcome": "http_5xx",
            "attemptCount": 1,
            "lastStatus": 500,
            "lastError": "http_5xx",
            "resentAt": None,
            "completedAt": None,
        }
        assert {name: shown[name] for name in expected} == expected
        assert attempt.pop("nextAttemptAt") == shown["nextAttemptAt"] > shown["createdAt"]
        assert attempt == {
            "number": 1,
            "startedAt": "2026-01-02T03:04:05.000Z",
            "durationMs": 12,
            "url": "https://hooks.example/x",
            "requestHeaders": {"a": "b"},
            "status": 500,
            "responseHeaders": {},
            "responseBody": "no",
            "errorClass": "http_5xx",
            "detail": None,
            "timings": {"dnsMs": 1.235, "connectMs": 20.0, "tlsMs": 30.0, "firstByteMs": 1500.0},
            "truncated": False,
        }

    async def test_an_attempt_without_an_answer(self, world: World, acme: str) -> None:
        made = await delivery(world, acme, None)
        silent: dict[str, Any] = {"status": None, "response_headers": None, "response_body": None}
        await tried(world, acme, made, **silent, error_class="dns", detail="no such name")

        shown = await world.get(f"/v1/delivery/{made}", acme)

        (attempt,) = shown["attempts"]
        assert (shown["outcome"], shown["lastError"]) == ("dns", "no such name")
        assert (shown["nextAttemptAt"], attempt["nextAttemptAt"]) == (None, None)
        assert shown["endpointId"] is None
        assert {attempt[name] for name in ("status", "responseHeaders", "responseBody")} == {None}
        assert set(attempt["timings"].values()) == {None}

    async def test_a_job_leads_to_its_deliveries(self, world: World, acme: str) -> None:
        await endpoint(world, acme)
        job_id = await world.job(acme, callbackUrl="https://own.example.com/x")
        await world.finish(job_id, Finish(JobState.SUCCEEDED))

        found = await world.get(f"/v1/delivery?job={job_id}", acme)

        assert {(one["type"], one["jobId"], one["outcome"]) for one in found} == {
            ("job.succeeded", job_id, None)
        }
        assert {one["url"] for one in found} == {
            "https://own.example.com/x",
            "https://hooks.example.com/a",
        }


class TestResend:
    async def test_a_delivery_is_resent_under_the_same_id(self, world: World, acme: str) -> None:
        made = await succeeded(world, acme, await endpoint(world, acme))
        before = await world.get(f"/v1/delivery/{made}", acme)

        again = await world.send("POST", f"/v1/delivery/{made}/resend", acme)

        assert (again["id"], again["eventId"]) == (made, before["eventId"])
        assert (again["state"], again["completedAt"]) == ("pending", None)
        assert again["resentAt"] == again["nextAttemptAt"] > before["completedAt"]
        assert world.queue.wakes[-1] == ("deliver", 0.0)

    async def test_not_to_a_receiver_that_cannot_get_it(self, world: World, acme: str) -> None:
        to = await endpoint(world, acme)
        made = await failed(world, acme, to)
        await world.send("POST", f"/v1/endpoint/{to}/disable", acme)
        problem(await world.call("POST", f"/v1/delivery/{made}/resend", acme), 409, "CONFLICT")
        await world.send("DELETE", f"/v1/endpoint/{to}", acme)
        problem(await world.call("POST", f"/v1/delivery/{made}/resend", acme), 409, "CONFLICT")

        assert (await world.get(f"/v1/delivery/{made}", acme))["resentAt"] is None

    async def test_a_body_with_fields_is_refused(self, world: World, acme: str) -> None:
        made = await failed(world, acme, None)

        answer = await world.call("POST", f"/v1/delivery/{made}/resend", acme, json={"now": 1})

        assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["now"]


@pytest.mark.parametrize(("method", "suffix"), [("GET", ""), ("POST", "/resend")])
async def test_another_tenants_delivery_does_not_exist(
    world: World, acme: str, method: str, suffix: str
) -> None:
    made = await failed(world, acme, await endpoint(world, acme))
    globex = await world.tenant("globex")

    for delivery_id in (made, NOBODY, "nope", str(UUID(int=0))):
        answer = await world.call(method, f"/v1/delivery/{delivery_id}{suffix}", globex)
        problem(answer, 404, "NOT_FOUND")

    assert await _ids(world, globex) == []
    assert (await world.get(f"/v1/delivery/{made}", acme))["resentAt"] is None
