"""GET /job: order, pages, cursors, filters and tenants."""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.core.lifecycle import Finish, expired
from gateway.core.model import JobState, KeyKind
from tests.web.conftest import GOOD, World, next_page

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def _ids(world: World, key: str, query: str = "", **headers: str) -> list[str]:
    return [job["id"] for job in await world.get(f"/v1/job{query}", key, **headers)]


async def test_the_newest_comes_first(world: World, acme: str) -> None:
    made = [await world.job(acme) for _ in range(3)]

    assert await _ids(world, acme) == made[::-1]
    assert await _ids(world, acme, "?") == made[::-1]


async def test_links_lead_through_all_pages(world: World, acme: str) -> None:
    made = [await world.job(acme, name=f"é {n}", batchName="a&b") for n in range(5)]
    await world.job(acme)
    seen: list[list[str]] = []
    path = f"/v1/job?size=2&batchName={quote('a&b')}&page=0"
    while path:
        answer = await world.call("GET", path, acme)
        seen.append([job["id"] for job in answer.json()])
        path = next_page(answer)

    assert seen == [made[4:2:-1], made[2:0:-1], made[:1]]


async def test_pages_by_number_agree_with_cursors(world: World, acme: str) -> None:
    made = [await world.job(acme) for _ in range(5)]

    assert await _ids(world, acme, "?page=1&size=2") == made[2:0:-1]
    assert await _ids(world, acme, "?page=2&size=2") == made[:1]
    assert await _ids(world, acme, "?page=3&size=2") == []
    second = await world.call("GET", "/v1/job?page=1&size=2", acme)
    assert await _ids(world, acme, next_page(second).removeprefix("/v1/job")) == made[:1]


async def test_the_last_page_has_no_link(world: World, acme: str) -> None:
    await world.job(acme)

    assert "link" not in (await world.call("GET", "/v1/job?size=1", acme)).headers


async def _mixed(world: World, slug: str) -> dict[str, str]:
    jobs = {
        "waits": await world.job(slug, name="a", batchName="x", metadata={"user": "ada", "n": 1}),
        "done": await world.job(slug, name="b", batchName="y", workflow="w", metadata={"n": 2}),
        "failed": await world.job(slug, name="c", metadata={"user": "bob", "k.e y": "v"}),
    }
    await world.finish(jobs["done"], Finish(JobState.SUCCEEDED))
    await world.finish(jobs["failed"], expired())
    return jobs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=QUEUED", ["waits"]),
        ("status=STARTED", []),
        ("status=FAILED", ["failed"]),
        ("status=QUEUED&status=SUCCEEDED", ["done", "waits"]),
        ("workflow=w", ["done"]),
        ("workflow=w&workflow=music-ai/generate-chords", ["failed", "done", "waits"]),
        ("workflow=nothing", []),
        ("batchName=x&batchName=y", ["done", "waits"]),
        ("name=a&name=c", ["failed", "waits"]),
        ("name=null", []),
        ("errorCode=DEADLINE_EXCEEDED", ["failed"]),
        ("metadata.user=ada", ["waits"]),
        ("metadata.user=ada&metadata.user=bob", ["failed", "waits"]),
        ("metadata.n=2", ["done"]),
        ("metadata.user=ada&metadata.n=2", []),
        ("metadata.k.e%20y=v", ["failed"]),
        ("createdAfter=2001-01-01T00:00:00Z", ["failed", "done", "waits"]),
        ("createdAfter=2001-01-01T00:00:00", ["failed", "done", "waits"]),
        ("createdBefore=2001-01-01T00:00:00.000Z", []),
        ("completedAfter=2001-01-01T00:00:00%2B01:00", ["failed", "done"]),
        ("completedBefore=2001-01-01T00:00:00Z", []),
        ("status=FAILED&batchName=x", []),
    ],
)
async def test_filters(world: World, acme: str, query: str, expected: list[str]) -> None:
    jobs = await _mixed(world, acme)

    assert await _ids(world, acme, f"?{query}") == [jobs[name] for name in expected]


class TestWhoseJobs:
    async def test_a_tenant_sees_its_own(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        job_id = await world.job(acme)
        await world.job(globex)

        assert await _ids(world, acme) == [job_id]
        assert await _ids(world, acme, f"?tenant={acme}") == [job_id]

    async def test_a_filter_by_tenant_shows_a_tenant_nothing_more(
        self, world: World, acme: str
    ) -> None:
        globex = await world.tenant("globex")
        await world.job(globex)

        assert await _ids(world, acme, f"?tenant={globex}") == []
        assert await _ids(world, acme, "?tenant=nobody") == []

    async def test_another_tenants_cursor_shows_nothing_of_it(
        self, world: World, acme: str
    ) -> None:
        globex = await world.tenant("globex")
        mine = await world.job(acme)
        for _ in range(2):
            await world.job(globex)
        link = next_page(await world.call("GET", "/v1/job?size=1", globex))

        assert await _ids(world, acme, link.removeprefix("/v1/job")) == [mine]

    async def test_a_service_sees_its_tenants(self, world: World, acme: str) -> None:
        globex, other = await world.tenant("globex"), await world.tenant("other")
        jobs = {slug: await world.job(slug) for slug in (acme, globex, other)}
        key = await world.key(KeyKind.SERVICE, allowed_tenants=[acme, globex])

        assert await _ids(world, key) == [jobs[globex], jobs[acme]]
        assert await _ids(world, key, f"?tenant={acme}") == [jobs[acme]]
        assert await _ids(world, key, f"?tenant={acme}&tenant={other}") == [jobs[acme]]
        assert await _ids(world, key, f"?tenant={other}") == []
        assert await _ids(world, key, **{"Gateway-Tenant": globex}) == [jobs[globex]]

    async def test_a_service_for_all_tenants_sees_all(self, world: World, acme: str) -> None:
        globex = await world.tenant("globex")
        jobs: dict[str, Any] = {slug: await world.job(slug) for slug in (acme, globex)}
        key = await world.key(KeyKind.SERVICE)

        assert (await _ids(world, key))[:2] == [jobs[globex], jobs[acme]]
        assert await _ids(world, key, f"?tenant={acme}&tenant={globex}") == [
            jobs[globex],
            jobs[acme],
        ]


async def test_a_page_of_large_jobs_ends_early_and_has_a_link(world: World, acme: str) -> None:
    client = await world.serve(max_body_bytes=2**20)
    made = list[str]()
    for place in range(8):
        plain = "".join(sha256(b"%d %d" % (place, n)).hexdigest() for n in range(15_000))
        sent = {**GOOD, "params": {"a": plain}}
        answer = await client.post(
            "/v1/job", json=sent, headers={"Authorization": world.keys[acme]}
        )
        made.insert(0, answer.json()["id"])
    seen, sizes, query = list[str](), list[int](), "?size=8&page=0"
    while query:
        answer = await world.call("GET", f"/v1/job{query}", acme)
        seen += [one["id"] for one in answer.json()]
        sizes.append(len(answer.content))
        query = httpx.URL(answer.links.get("next", {"url": ""})["url"]).query.decode()
        query = query and f"?{query}"
    assert seen == made
    assert len(sizes) == 2
    assert max(sizes) < 5_500_000
