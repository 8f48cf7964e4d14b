"""Endpoints and deliveries."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from standardwebhooks import Webhook

from gateway.core.lifecycle import Finish
from gateway.core.model import Attempt, JobState
from gateway.store import deliveries
from gateway.store.deliveries import Recorded
from tests.web.conftest import NOBODY, World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")

_HOOK = {"url": "https://hooks.example.com/a"}


async def test_an_endpoint_is_shown_with_its_secret_once(world: World, acme: str) -> None:
    given = _HOOK | {"description": "mine", "events": ["job.failed", "job.failed"]}

    made = await world.send("POST", "/v1/endpoint", acme, given)

    secret = made.pop("secret")
    Webhook(secret).sign("id", datetime.now(UTC), "{}")
    assert made.pop("createdAt") == made.pop("updatedAt")
    endpoint_id = made.pop("id")
    assert made == {
        "url": "https://hooks.example.com/a",
        "events": ["job.failed"],
        "description": "mine",
        "disabled": False,
        "disabledReason": None,
    }
    read = await world.get(f"/v1/endpoint/{endpoint_id}", acme)
    assert "secret" not in read
    assert read["url"] == made["url"]
    assert await world.get("/v1/endpoint", acme) == [read]


async def test_an_endpoint_may_bring_its_own_secret(world: World, acme: str) -> None:
    secret = "whsec_" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

    made = await world.send("POST", "/v1/endpoint", acme, _HOOK | {"secret": secret})

    assert made["secret"] == secret


async def test_an_endpoint_is_deleted(world: World, acme: str) -> None:
    made = await world.send("POST", "/v1/endpoint", acme, _HOOK)
    path = f"/v1/endpoint/{made['id']}"

    assert await world.send("DELETE", path, acme) == {"id": made["id"]}

    for method in ("GET", "DELETE"):
        problem(await world.call(method, path, acme), 404, "NOT_FOUND")
    assert await world.get("/v1/endpoint", acme) == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_another_tenants_endpoint_does_not_exist(
    world: World, acme: str, method: str
) -> None:
    made = await world.send("POST", "/v1/endpoint", acme, _HOOK)
    globex = await world.tenant("globex")

    for endpoint_id in (made["id"], NOBODY, "nope"):
        answer = await world.call(method, f"/v1/endpoint/{endpoint_id}", globex)
        problem(answer, 404, "NOT_FOUND")
    assert await world.get("/v1/endpoint", globex) == []
    assert len(await world.get("/v1/endpoint", acme)) == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, ["url"]),
        ({"url": ""}, ["url"]),
        ({"url": None}, ["url"]),
        (_HOOK | {"events": ["job.exploded"]}, ["events"]),
        (_HOOK | {"events": "job.failed"}, ["events"]),
        (_HOOK | {"events": [1]}, ["events[0]"]),
        (_HOOK | {"description": "x" * 1025}, ["description"]),
        (_HOOK | {"secret": "short"}, ["secret"]),
        (_HOOK | {"color": 1}, ["color"]),
    ],
    ids=str,
)
async def test_endpoints_are_checked(world: World, acme: str, body: Any, named: list[str]) -> None:
    answer = await world.call("POST", "/v1/endpoint", acme, json=body)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == named
    assert await world.get("/v1/endpoint", acme) == []


async def test_the_url_is_vetted(world: World, acme: str) -> None:
    world.sender.refused["https://169.254.169.254/"] = "the address is link-local"

    answer = await world.call(
        "POST", "/v1/endpoint", acme, json={"url": "https://169.254.169.254/"}
    )

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["url"]


async def test_the_default_secret_stays(world: World, acme: str) -> None:
    first = await world.get("/v1/endpoint/default-secret", acme)

    assert first["secret"].startswith("whsec_")
    assert await world.get("/v1/endpoint/default-secret", acme) == first


async def _delivered(world: World, slug: str) -> tuple[str, str]:
    """A job and the delivery that its end caused, once attempted."""
    await world.send("POST", "/v1/endpoint", slug, _HOOK)
    job_id = await world.job(slug)
    await world.finish(job_id, Finish(JobState.SUCCEEDED))
    tenant = await world.find(slug)
    token = world.deps.ids.uuid()
    async with world.deps.db.begin() as tx:
        claimed = await deliveries.claim(tx, 100, cap=10, lease=30, token=token)
        (mine,) = [one for one in claimed if one.job_id == UUID(job_id)]
        attempt = Attempt(
            number=1,
            started_at=world.deps.clock.now(),
            duration_ms=12,
            url=mine.url,
            request_headers='{"webhook-id":"x"}',
            status=500,
            response_headers='{"server":"s"}',
            response_body="no",
            error_class="http_5xx",
            detail=None,
        )
        done = Recorded(mine.id, tenant.id, token, "pending", 60.0, attempt)
        await deliveries.record(tx, [done])
    return job_id, str(mine.id)


async def test_a_delivery_is_shown_with_its_attempts(world: World, acme: str) -> None:
    job_id, delivery_id = await _delivered(world, acme)

    shown = await world.get(f"/v1/delivery/{delivery_id}", acme)

    (attempt,) = shown.pop("attempts")
    assert await world.get(f"/v1/delivery?job={job_id}", acme) == [shown]
    assert {name: shown[name] for name in ("type", "jobId", "url", "state", "lastStatus")} == {
        "type": "job.succeeded",
        "jobId": job_id,
        "url": "https://hooks.example.com/a",
        "state": "pending",
        "lastStatus": 500,
    }
    assert shown["attemptCount"] == 1
    assert shown["nextAttemptAt"] > attempt["startedAt"]
    assert attempt["requestHeaders"] == {"webhook-id": "x"}
    assert attempt["responseHeaders"] == {"server": "s"}
    assert (attempt["number"], attempt["durationMs"], attempt["errorClass"]) == (1, 12, "http_5xx")


async def test_another_tenants_delivery_does_not_exist(world: World, acme: str) -> None:
    job_id, delivery_id = await _delivered(world, acme)
    globex = await world.tenant("globex")

    problem(await world.call("GET", f"/v1/delivery/{delivery_id}", globex), 404, "NOT_FOUND")
    assert await world.get(f"/v1/delivery?job={job_id}", globex) == []


@pytest.mark.parametrize("query", ["", "job=", "job=nope", "job=%00"])
async def test_deliveries_are_asked_for_by_job(world: World, acme: str, query: str) -> None:
    problem(await world.call("GET", f"/v1/delivery?{query}", acme), 400, "BAD_REQUEST")
