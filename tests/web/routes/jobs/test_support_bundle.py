"""The support bundle of a job: what is in it, and what must never be."""

import json
from typing import Any
from uuid import UUID

import pytest

from gateway import __version__
from gateway.core.lifecycle import Finish, error_of
from gateway.core.model import JobState, KeyKind
from gateway.flows.admin.support_bundle import without_query
from tests.web.conftest import NOBODY, World, problem
from tests.web.webhooks import delivery, endpoint, tried

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECRETS = {
    "params": {"inputUrl": "https://media.example.com/a.wav?signature=hush-params"},
    "metadata": {"token": "hush-metadata"},
    "callbackUrl": "https://own.example.com/x?token=hush-callback",
}


async def bundle(world: World, key: str, job_id: str, query: str = "") -> tuple[Any, str]:
    """The bundle, and its text."""
    answer = await world.call("GET", f"/v1/job/{job_id}/support-bundle{query}", key)
    assert answer.status_code == 200, answer.text
    assert "attachment" in answer.headers["content-disposition"]
    return answer.json(), answer.text


async def failed_job(world: World, slug: str) -> str:
    job_id = await world.job(slug, name="Song", **_SECRETS)
    error = error_of("BAD_INPUT", "Bad input", "The file cannot be read.")
    await world.finish(job_id, Finish(JobState.FAILED, error=error))
    return job_id


async def test_a_bundle_explains_a_failed_job(world: World, acme: str) -> None:
    job_id = await failed_job(world, acme)
    found, _ = await bundle(world, acme, job_id)
    assert found["job"]["id"] == job_id
    assert found["job"]["error"]["code"] == "BAD_INPUT"
    assert found["explanation"]["whoActs"] == "caller"
    assert found["explanation"]["whatToDo"]
    assert next(one["type"] for one in found["timeline"]) == "accepted"
    assert found["versions"]["gateway"] == __version__
    assert found["versions"]["schema"]
    assert found["load"]["credential"] == "ok"
    assert found["credential"]["version"] == 1


async def test_a_bundle_has_no_secret_and_no_payload(world: World, acme: str) -> None:
    headers = {"authorization": "Bearer hush-header"}
    to = await endpoint(
        world, acme, url="https://hooks.example.com/a?key=hush-query", headers=headers
    )
    job_id = await failed_job(world, acme)
    one = await delivery(world, acme, to, kind="job.failed", job=job_id)
    sent = {"authorization": "hush-sent", "webhook-signature": "v1,hush-signature"}
    await tried(
        world,
        acme,
        one,
        request_headers=json.dumps(sent),
        response_headers='{"set-cookie": "hush-cookie"}',
        response_body="hush-body",
    )
    found, text = await bundle(world, acme, job_id)
    secret = (await world.get("/v1/endpoint/default-secret", acme))["secret"]
    for hush in ("hush", secret, world.keys[acme], f"key-of-{acme}", "Authorization"):
        assert hush not in text
    assert (found["hasPayloads"], found["job"]["workflowParams"]) == (False, {})
    webhook = next(one_ for one_ in found["webhooks"] if one_["id"] == one)
    assert webhook["url"] == "https://hooks.example.com/a?..."
    assert webhook["attempts"][0]["status"] == 500


async def test_payloads_are_in_it_if_they_are_asked_for(world: World, acme: str) -> None:
    job_id = await failed_job(world, acme)
    found, _ = await bundle(world, acme, job_id, "?payloads=true")
    assert found["hasPayloads"] is True
    assert found["job"]["workflowParams"] == _SECRETS["params"]
    assert found["job"]["metadata"] == _SECRETS["metadata"]


async def test_an_open_job_says_what_it_waits_for(world: World) -> None:
    slug = await world.tenant("poor", credential=True)
    async with world.deps.db.begin() as tx:
        tenant = await world.find(slug)
        job_id = await world.job(slug)
        await tx.run(
            "UPDATE credential SET rejected_at = now(), rejected_reason = 'HTTP 401' WHERE tenant_id = $1",
            tenant.id,
        )
    found, _ = await bundle(world, slug, job_id)
    assert found["job"]["gateway"]["waitsFor"]["code"]
    assert found["load"]["credential"] == "refused"
    assert found["credential"]["rejectedReason"] == "HTTP 401"


async def test_only_who_may_read_the_job_gets_it(world: World, acme: str) -> None:
    job_id = await world.job(acme)
    path = f"/v1/job/{job_id}/support-bundle"
    other = await world.tenant("other")
    problem(await world.call("GET", path, other), 404, "NOT_FOUND")
    problem(await world.call("GET", f"/v1/job/{NOBODY}/support-bundle", acme), 404, "NOT_FOUND")
    poor = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"endpoints:read"}))
    problem(await world.call("GET", path, poor), 403, "FORBIDDEN")
    problem(await world.call("GET", f"{path}?payloads=perhaps", acme), 400, "BAD_REQUEST")
    assert UUID((await bundle(world, acme, job_id))[0]["job"]["id"])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/x", "https://a.example/x"),
        ("https://u:p@a.example:8443/x?y=z#f", "https://a.example:8443/x?..."),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]/"),
    ],
)
async def test_urls_lose_user_and_query(url: str, shown: str) -> None:
    assert without_query(url) == shown
