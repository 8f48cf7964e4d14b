"""Waiting for a job: many callers at once, without the database, and until the process stops."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
from typing_extensions import override

from gateway.core.lifecycle import Finish
from gateway.core.model import JobState
from gateway.errors import Unavailable
from gateway.flows.process.slots import Slots
from gateway.flows.settle.settlement import ending, settle
from gateway.flows.settle.watchers import announce_jobs
from gateway.flows.upstream.delete_job import delete_job
from gateway.store.database import AnyRow, Database, Tx
from tests.web.conftest import GOOD, World, problem
from tests.web.live import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DONE = Finish(JobState.SUCCEEDED, result='{"bpm":"64"}')
_MANY = 60
_TURNS = 50  # of the event loop: by then every request waits


class _Watched(Database):
    """A database that can be away, and counts queries for tenants and their rows."""

    def __init__(self, world: World) -> None:
        super().__init__(world.deps.db._engine, world.deps.db._connector)
        self.away, self.refused, self.asked, self.read = False, 0, 0, 0
        self.busy, self.busiest = 0, 0

    @asynccontextmanager
    async def of(self, *tenant_ids: UUID) -> AsyncIterator[Tx]:
        if self.away:
            self.refused += 1
            raise Unavailable("away", retry_after=1)
        self.busy += 1
        self.busiest = max(self.busy, self.busiest)
        async with super().of(*tenant_ids) as tx:
            yield (counted := _Counted(tx))
        self.busy -= 1
        self.asked += 1
        self.read += counted.read


class _Counted(Tx):
    """A connection that counts the rows that it read."""

    def __init__(self, tx: Tx) -> None:
        super().__init__(tx._connection)
        self.read = 0

    @override
    async def rows(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        rows = await super().rows(sql, *arguments)
        self.read += len(rows)
        return rows


@dataclass
class Waiting:
    """Requests that wait for jobs, to a separate process."""

    world: World
    client: httpx.AsyncClient
    db: _Watched
    slots: Slots
    asking: list["asyncio.Task[httpx.Response]"] = field(
        default_factory=list["asyncio.Task[httpx.Response]"]
    )

    async def ask(self, slug: str, *job_ids: str, known: str = "") -> None:
        """Have each job waited for, and return once all of them have been looked at."""
        headers = {"Authorization": self.world.keys[slug], "If-None-Match": known}
        self.db.read = 0

        async def are_read() -> bool:
            return self.db.read == len(job_ids)

        for job_id in job_ids:
            path = f"/v1/job/{job_id}?wait=60"
            self.asking.append(asyncio.create_task(self.client.get(path, headers=headers)))
        await until(are_read)
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.db.asked = 0

    async def answers(self) -> list[dict[str, Any]]:
        """What they are answered, all of them with 200."""
        async with asyncio.timeout(30):
            answers = await asyncio.gather(*self.asking)
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json() for answer in answers]


@pytest.fixture
async def waiting(world: World) -> Waiting:
    db, slots = _Watched(world), Slots(world.deps.clock)
    client = await world.serve(db=db, slots=slots)
    return Waiting(world, client, db, slots)


async def some_jobs(world: World, slug: str, count: int) -> list[str]:
    body = {"name": "many", "jobs": [GOOD] * count}
    return (await world.send("POST", "/v1/batch", slug, body))["ids"]


async def finish(world: World, job_ids: list[str]) -> None:
    """End jobs, all at once."""
    async with world.deps.db.begin() as tx:
        await settle(tx, world.deps, [ending(UUID(job_id), _DONE) for job_id in job_ids])
    announce_jobs(world.deps, map(UUID, job_ids))


async def test_jobs_that_end_together_are_read_together(
    world: World, acme: str, waiting: Waiting
) -> None:
    globex = await world.tenant("globex")
    mine, theirs = [await some_jobs(world, slug, _MANY // 2) for slug in (acme, globex)]
    await waiting.ask(acme, *mine)
    await waiting.ask(globex, *theirs)
    await finish(world, [*mine, *theirs])

    answers = await waiting.answers()

    assert [one["id"] for one in answers] == [*mine, *theirs]
    assert {one["status"] for one in answers} == {"SUCCEEDED"}
    assert {one["gateway"]["tenant"] for one in answers[: len(mine)]} == {acme}
    assert waiting.db.asked == 1


async def test_callers_that_come_together_leave_connections_free(
    world: World, acme: str, waiting: Waiting
) -> None:
    ids = await some_jobs(world, acme, _MANY)
    await waiting.ask(acme, *ids)
    assert waiting.db.busiest <= 2
    await finish(world, ids)

    assert [one["id"] for one in await waiting.answers()] == ids


async def test_all_waited_jobs_are_read_together_when_the_process_stops(
    world: World, acme: str, waiting: Waiting
) -> None:
    ids = await some_jobs(world, acme, _MANY)
    await waiting.ask(acme, *ids)
    waiting.slots.closing = True

    answers = await waiting.answers()

    assert [one["gateway"]["queuePosition"] for one in answers] == list(range(_MANY))
    assert waiting.db.asked == 2, "for the jobs, and for their places"


async def test_a_known_version_waits_in_all_spellings_of_its_tag(
    world: World, acme: str, waiting: Waiting
) -> None:
    forms = ('"1"', 'W/"1"', '"99", "1"', "*", "1")
    ids = await some_jobs(world, acme, len(forms))
    for job_id, known in zip(ids, forms, strict=True):
        await waiting.ask(acme, job_id, known=known)
    await finish(world, ids)

    answers = await waiting.answers()

    assert {one["status"] for one in answers} == {"SUCCEEDED"}


async def test_a_database_that_is_away_for_a_moment_ends_no_wait(
    world: World, acme: str, waiting: Waiting
) -> None:
    ids = await some_jobs(world, acme, 2)
    await waiting.ask(acme, *ids)
    waiting.db.away = True
    await finish(world, ids)

    async def was_asked() -> bool:
        return waiting.db.refused > 0

    await until(was_asked)
    assert not any(task.done() for task in waiting.asking)
    waiting.db.away = False
    announce_jobs(world.deps, map(UUID, ids))

    assert [one["status"] for one in await waiting.answers()] == ["SUCCEEDED"] * 2


async def test_a_job_that_is_deleted_during_the_wait_is_not_found(
    world: World, acme: str, waiting: Waiting
) -> None:
    (job_id,) = await some_jobs(world, acme, 1)
    await waiting.ask(acme, job_id)
    await delete_job(world.deps, (await world.find(acme)).id, UUID(job_id))

    problem(await waiting.asking[0], 404, "NOT_FOUND")


async def test_a_job_that_cannot_be_read_is_still_accepted(
    world: World, acme: str, waiting: Waiting
) -> None:
    headers = {"Authorization": world.keys[acme], "Prefer": "wait=60"}
    await waiting.client.get("/v1/job", headers=headers)  # the key is cached from now on
    waiting.db.away = True

    answer = await waiting.client.post("/v1/job", headers=headers, json=GOOD)

    assert waiting.db.refused == 1
    assert (answer.status_code, list(answer.json())) == (200, ["id"])
    assert "preference-applied" not in answer.headers
