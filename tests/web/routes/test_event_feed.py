"""GET /event: order, pages, filters, waiting, and no event before the position of a reader."""

import asyncio
import json
import random
from typing import Any
from uuid import UUID

import pytest

from gateway.core.events import event_body
from gateway.core.lifecycle import Finish, expired
from gateway.core.model import JobState, KeyKind
from gateway.flows.settle.watchers import announce_feed
from gateway.store.database import Tx
from gateway.store.work import settlement
from gateway.store.work.settlement import NewEvent
from tests.web.conftest import NOBODY, World, fields_of, next_page, problem
from tests.web.live import until

_NO_EVENT = "6f9619ff-8b86-4011-b42d-00c04fc964ff"  # a UUID version that no event has

pytestmark = pytest.mark.asyncio(loop_scope="module")

_SECONDS = 30


async def add(
    world: World, tx: Tx, slug: str, kind: str = "test.ping", data: str = '{"n": 1.50}'
) -> str:
    """The id of a new event in a transaction."""
    world.invents = True
    event_id, tenant = world.deps.ids.uuid(), await world.find(slug)
    body = event_body(kind, data, world.deps.clock.now())
    await settlement.add_events(tx, [NewEvent(event_id, tenant.id, None, kind, body)])
    return str(event_id)


async def added(world: World, slug: str, kind: str = "test.ping", data: str = "{}") -> str:
    """The id of a new event."""
    async with world.deps.db.begin() as tx:
        event_id = await add(world, tx, slug, kind, data)
    announce_feed(world.deps, [(await world.find(slug)).id])
    return event_id


async def feed(world: World, key: str, query: str = "", *, count: int, **headers: str) -> list[Any]:
    """The events of one page, as soon as it has so many.

    Transactions of other tests on the same server may hold events back for a moment.
    """

    async def are_there() -> bool:
        found[:] = await world.get(f"/v1/event?{query}", key, **headers)
        return len(found) >= count

    found = list[Any]()
    await until(are_there)
    assert len(found) == count
    return found


def ids(events: list[Any]) -> list[str]:
    return [event["id"] for event in events]


async def test_events_equal_their_webhooks_oldest_first(world: World, acme: str) -> None:
    job_id = await world.job(acme, params={"inputUrl": "https://a.example", "ü": "\n"})
    failed = await world.job(acme)
    await world.finish(
        job_id, Finish(JobState.SUCCEEDED, result='{"big": 12345678901234567890.50}')
    )
    await world.finish(failed, expired())

    first, second = await feed(world, acme, count=2)

    assert list(first) == ["id", "type", "timestamp", "tenant", "jobId", "data"]
    assert (first["type"], first["tenant"], first["jobId"]) == ("job.succeeded", acme, job_id)
    assert first["data"]["id"] == job_id
    assert (second["type"], second["jobId"]) == ("job.failed", failed)
    async with world.deps.db.single() as tx:
        row = await tx.one("SELECT body FROM event WHERE id = $1", UUID(first["id"]))
    shown = (await world.call("GET", "/v1/event", acme)).text
    type_and_time, _, data = row.body.partition(',"data":')
    assert f'{{"id":"{first["id"]}",{type_and_time[1:]},"tenant":"{acme}"' in shown
    assert f',"data":{data}' in shown


async def test_links_lead_through_full_pages(world: World, acme: str) -> None:
    made = [await added(world, acme) for _ in range(4)]
    assert ids(await feed(world, acme, count=4)) == made
    seen: list[list[str]] = []
    path = "/v1/event?size=2&type=test.ping"
    while path:
        answer = await world.call("GET", path, acme)
        seen.append(ids(answer.json()))
        path = next_page(answer)

    assert seen == [made[:2], made[2:], []]


async def test_types_are_filtered(world: World, acme: str) -> None:
    kinds = ["test.ping", "job.started", "job.failed"]
    made = {kind: await added(world, acme, kind) for kind in kinds}
    query = "type=test.ping&type=job.failed"

    assert ids(await feed(world, acme, query, count=2)) == [made["test.ping"], made["job.failed"]]
    query += f"&after={made['test.ping']}"
    assert ids(await feed(world, acme, query, count=1)) == [made["job.failed"]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("after=soon", "after"),
        (f"after={_NO_EVENT}", "after"),
        ("after=Af____________________8", "after"),
        ("type=job.exploded", "type"),
        ("size=1001", "size"),
        ("wait=61", "wait"),
        ("cursor=x", "cursor"),
    ],
)
async def test_bad_parameters_are_named(world: World, acme: str, query: str, field: str) -> None:
    answer = await world.call("GET", f"/v1/event?{query}", acme)

    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == [field]


async def test_the_id_of_another_tenants_event_shows_only_its_time(world: World, acme: str) -> None:
    other = await world.tenant("other")
    theirs, mine = await added(world, other), await added(world, acme)

    assert ids(await feed(world, acme, f"after={theirs}", count=1)) == [mine]
    assert ids(await feed(world, acme, f"after={NOBODY}", count=1)) == [mine]


async def test_a_service_sees_its_tenants(world: World, acme: str) -> None:
    globex, other = await world.tenant("globex"), await world.tenant("other")
    made = {slug: await added(world, slug) for slug in (acme, globex, other)}
    key = await world.key(KeyKind.SERVICE, allowed_tenants=[acme, globex])

    found = await feed(world, key, count=2)
    assert [(one["id"], one["tenant"]) for one in found] == [
        (made[acme], acme),
        (made[globex], globex),
    ]
    assert ids(await feed(world, key, f"tenant={globex}&tenant={other}", count=1)) == [made[globex]]
    assert ids(await feed(world, key, count=1, **{"Gateway-Tenant": acme})) == [made[acme]]
    assert await world.get(f"/v1/event?tenant={other}", key) == []


async def test_reading_needs_the_scope(world: World, acme: str) -> None:
    key = await world.key(KeyKind.TENANT, tenant=acme, scopes=frozenset({"usage:read"}))

    for path in ("/v1/event", "/v1/event/stream"):
        problem(await world.call("GET", path, key), 403, "FORBIDDEN")


class TestWaiting:
    async def test_it_answers_when_an_event_comes(self, world: World, acme: str) -> None:
        asking = asyncio.create_task(world.get("/v1/event?wait=60&type=test.ping", acme))
        await asyncio.sleep(0)
        await added(world, acme, "job.started")
        event_id = await added(world, acme)

        async with asyncio.timeout(_SECONDS):
            assert ids(await asking) == [event_id]

    async def test_it_ends_when_the_process_stops(self, world: World, acme: str) -> None:
        world.deps.slots.closing = True
        try:
            assert await world.get("/v1/event?wait=60", acme) == []
        finally:
            world.deps.slots.closing = False

    async def test_it_ends_when_the_time_is_up(self, world: World, acme: str) -> None:
        asking = asyncio.create_task(world.get("/v1/event?wait=0.4", acme))
        globex = await world.tenant("globex")
        while not asking.done():  # the waiting caller does not see these
            await added(world, globex)

        assert await asking == []


class TestNothingComesInFrontOfAReader:
    async def test_a_later_commit_is_shown_later(self, world: World, acme: str) -> None:
        start = await added(world, acme)
        assert ids(await feed(world, acme, count=1)) == [start]
        async with world.deps.db.begin() as early:
            slow = await add(world, early, acme)
            quick = await added(world, acme)  # begins and commits during the other transaction
            after_both = await world.get(f"/v1/event?after={start}", acme)

        assert after_both == []
        assert ids(await feed(world, acme, f"after={start}", count=2)) == [slow, quick]

    async def test_a_reader_beside_writers_sees_each_event_once(
        self, world: World, acme: str
    ) -> None:
        chance, made, seen = random.Random(7), set[str](), list[str]()

        async def write() -> None:
            for _ in range(15):
                async with world.deps.db.begin() as tx:
                    event_id = await add(world, tx, acme)
                    await asyncio.sleep(chance.random() / 100)
                    made.add(await add(world, tx, acme))
                    made.add(event_id)

        writing = asyncio.gather(*(write() for _ in range(3)))
        async with asyncio.timeout(_SECONDS):
            while not writing.done() or len(seen) < len(made):
                after = f"&after={seen[-1]}" if seen else ""
                seen += ids(await world.get(f"/v1/event?size=3{after}", acme))
        await writing

        assert len(seen) == 90
        assert set(seen) == made
        assert ids(await world.get("/v1/event", acme)) == seen


async def test_openapi_describes_page_and_stream(world: World) -> None:
    schema = json.loads((await world.call("GET", "/schema/openapi.json")).text)

    one, stream = (schema["paths"][path]["get"] for path in ("/v1/event", "/v1/event/stream"))
    assert {"after", "type", "tenant", "size", "wait"} <= {p["name"] for p in one["parameters"]}
    assert "Last-Event-ID" in {p["name"] for p in stream["parameters"]}
    assert list(stream["responses"]["200"]["content"]) == ["text/event-stream"]
    assert one["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"


async def test_samples_are_shown_only_on_request(world: World):
    slug, other = await world.tenant("sampled"), await world.tenant("apart")
    made = await world.send("POST", "/v1/event/test", slug, {"type": "job.failed"})
    real = await added(world, slug)
    found = await feed(world, slug, "samples=true", count=2)
    assert [(one["id"], one["type"], one["jobId"]) for one in found] == [
        (made["id"], "job.failed", None),
        (real, "test.ping", None),
    ]
    assert found[0]["data"]["metadata"] == {"test": True}
    assert [one["id"] for one in await feed(world, slug, count=1)] == [real]
    assert await world.get("/v1/event?samples=true", other) == []


async def test_a_sample_ends_the_wait_of_readers(world: World):
    slug = await world.tenant("woken")
    waiting = asyncio.create_task(world.get("/v1/event?samples=true&wait=30", slug))
    await asyncio.sleep(0)
    made = await world.send("POST", "/v1/event/test", slug, {})
    assert [one["id"] for one in await waiting] == [made["id"]]


async def test_samples_need_the_scope_and_a_known_type(world: World):
    slug = await world.tenant("scoped")
    reader = await world.key(KeyKind.TENANT, tenant=slug, scopes=frozenset({"jobs:read"}))
    problem(await world.call("POST", "/v1/event/test", reader), 403, "FORBIDDEN")
    wrong = await world.call("POST", "/v1/event/test", slug, json={"type": "job.exploded"})
    problem(wrong, 400, "BAD_REQUEST")
