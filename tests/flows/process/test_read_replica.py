"""A read replica by what the two servers say; that they say so is in tests/real_servers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from gateway.core.replica.progress import ServerState
from gateway.errors import BadRequest, Unavailable
from gateway.flows.process import read_replica
from gateway.flows.process.history_reader import HistoryReader
from gateway.flows.process.read_replica import Fitness, Replica, watching
from gateway.store.database import Database, Tx, open_database
from tests.flows.world import World

_NOWHERE = "postgresql://nobody@127.0.0.1:1/nowhere"
_PRIMARY = ServerState(is_standby=False, position=0, database=UUID(int=1), epoch=0, cluster=7)
_STANDBY = _PRIMARY._replace(is_standby=True)


@dataclass
class Scene:
    """Two pools of the same server, of which one is told to be a standby."""

    world: World
    database: Database
    told: list[Fitness] = field(default_factory=list[Fitness])
    primary: int = 100
    replayed: list[int] = field(default_factory=lambda: [100])
    standby: ServerState = _STANDBY
    fault: Exception | None = None
    is_hung: bool = False
    primary_fault: Exception | None = None
    # What the primary says after the replica was asked.
    primary_later: int | Exception | None = None
    replica: Replica = field(init=False)
    asked: int = 0

    def __post_init__(self) -> None:
        deps = self.world.deps
        self.replica = Replica(self.database, deps.db, deps.clock, 5.0, self.told.append)

    async def state(self, tx: Tx) -> ServerState:
        name = (await tx.one("SHOW application_name"))[0]
        if name == "replica":
            if self.fault is not None:
                raise self.fault
            if self.is_hung:
                await asyncio.sleep(60)
            self._go_on()
            return self.standby._replace(position=self._replayed())
        if self.primary_fault is not None:
            raise self.primary_fault
        return _PRIMARY._replace(position=self.primary)

    async def position(self, tx: Tx) -> int:
        name = (await tx.one("SHOW application_name"))[0]
        return self._replayed() if name == "replica" else self.primary

    def _go_on(self) -> None:
        if isinstance(self.primary_later, int):
            self.primary = self.primary_later
        elif self.primary_later is not None:
            self.primary_fault = self.primary_later

    def _replayed(self) -> int:
        self.asked += 1
        return self.replayed.pop(0) if len(self.replayed) > 1 else self.replayed[0]

    async def check(self, *, primary: int, replayed: int, after: float = 1.0) -> str:
        """The code after a check in which each server had its position."""
        self.world.clock.advance(after)
        self.primary, self.replayed = primary, [replayed]
        await self.replica.check()
        return self.replica.fitness.code


@pytest_asyncio.fixture(loop_scope="module")
async def scene(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    database = open_database(database_url.replace("+asyncpg", ""), pool=2, name="replica")
    made = Scene(world, database)
    monkeypatch.setattr(read_replica.replication, "server_state", made.state)
    monkeypatch.setattr(read_replica.replication, "wal_position", made.position)
    yield made
    await database.close()


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_it_is_used_once_it_has_what_the_primary_had(scene: Scene) -> None:
    assert (scene.replica.is_fit, scene.replica.lag) == (False, None)
    assert not scene.replica.holds(None)
    assert await scene.check(primary=100, replayed=99) == "unknown"
    assert scene.told == []
    assert await scene.check(primary=200, replayed=150) == ""
    assert scene.replica.lag == pytest.approx(1.0, abs=0.2)
    assert scene.replica.is_fit
    assert [one.code for one in scene.told] == [""]


async def test_one_that_needs_a_moment_is_asked_again(scene: Scene) -> None:
    scene.replayed = [99, 99, 100]
    await scene.replica.check()
    assert scene.asked == 3
    assert scene.replica.is_fit


async def test_it_is_left_when_it_lags_and_used_again_at_half_of_the_limit(scene: Scene) -> None:
    assert await scene.check(primary=100, replayed=100) == ""
    assert await scene.check(primary=200, replayed=100, after=4.0) == ""
    assert await scene.check(primary=300, replayed=100, after=2.0) == "late"
    assert scene.replica.fitness.cause.startswith("it lags by 6.")
    assert await scene.check(primary=400, replayed=200, after=1.0) == "late"
    assert await scene.check(primary=500, replayed=400, after=1.0) == ""
    assert [one.code for one in scene.told] == ["", "late", ""]


async def test_a_check_that_is_long_ago_counts_no_more(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    scene.world.clock.advance(4.0)
    assert scene.replica.is_fit
    scene.world.clock.advance(2.0)
    assert not scene.replica.is_fit
    assert [one.code for one in scene.told] == ["", "late"]


async def test_without_the_primary_the_last_check_counts(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    scene.primary_fault = Unavailable("gone")
    assert await scene.check(primary=100, replayed=100) == ""
    assert await scene.check(primary=100, replayed=100, after=6.0) == ""
    assert not scene.replica.is_fit


async def test_one_that_is_ahead_follows_another_primary(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    assert await scene.check(primary=100, replayed=101) == "unfit"
    assert scene.replica.fitness.cause.startswith("it is ahead of the primary")
    assert scene.replica.lag is None
    assert await scene.check(primary=150, replayed=101) == "unfit"  # nothing is known of this one
    assert await scene.check(primary=150, replayed=150) == ""


async def test_a_primary_that_went_on_meanwhile_is_no_fault(scene: Scene) -> None:
    scene.primary_later = 102
    assert await scene.check(primary=100, replayed=101) == ""


async def test_nothing_is_judged_if_the_primary_goes_away_meanwhile(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    scene.primary_later = Unavailable("gone")
    assert await scene.check(primary=100, replayed=101) == ""


async def test_a_promoted_one_is_left_at_the_next_check(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    scene.standby = _PRIMARY
    assert await scene.check(primary=100, replayed=100) == "unfit"


@pytest.mark.parametrize("fault", [RuntimeError("no beacon"), RuntimeError()])
async def test_a_check_never_raises(scene: Scene, fault: Exception) -> None:
    scene.fault = fault
    await scene.replica.check()
    assert scene.replica.fitness == Fitness("away", str(fault) or "RuntimeError")


async def test_a_server_without_a_free_connection_is_not_away(scene: Scene) -> None:
    await scene.check(primary=100, replayed=100)
    scene.fault = Unavailable("busy")
    scene.fault.__cause__ = PoolTimeoutError()
    assert await scene.check(primary=200, replayed=200) == ""
    assert await scene.check(primary=300, replayed=300, after=6.0) == ""
    assert not scene.replica.is_fit


async def test_a_read_does_not_wait_for_a_server_that_stopped_to_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooler keeps the connections of its clients open."""
    await scene.replica.check()
    hung, tried = asyncio.Event(), list[Database]()

    async def read(database: Database) -> int:
        tried.append(database)
        if database is scene.database:
            hung.set()
            await asyncio.sleep(60)
        return 7

    reading = asyncio.create_task(HistoryReader(scene.world.deps.db, scene.replica).read(read))
    await hung.wait()
    monkeypatch.setattr(read_replica, "_LONGEST_SECONDS", 0.2)
    scene.is_hung = True
    await scene.replica.check()
    assert await reading == 7
    assert tried == [scene.database, scene.world.deps.db]
    assert scene.replica.fitness == Fitness("away", "no answer in time")


async def test_a_server_that_is_away_is_told_of_once(scene: Scene, world: World) -> None:
    gone = open_database(_NOWHERE, pool=1, name="gone")
    replica = Replica(gone, world.deps.db, world.deps.clock, 5.0, scene.told.append)
    for _ in range(3):
        await replica.check()
    assert [one.code for one in scene.told] == ["away"]
    assert scene.told[0].cause.startswith("connection refused")
    await gone.close()


async def test_a_moment_is_waited_for(scene: Scene, world: World) -> None:
    now = world.deps.clock.now()
    assert await scene.replica.reach(now - timedelta(seconds=1), 1.0)
    scene.primary, asked = 200, scene.asked
    assert await scene.replica.reach(now - timedelta(seconds=1), 1.0)
    assert scene.asked == asked  # it was known already
    assert not await scene.replica.reach(now + timedelta(seconds=60), 1.0)


async def test_one_that_is_out_of_use_is_not_waited_for(scene: Scene, world: World) -> None:
    scene.standby = _PRIMARY
    await scene.replica.check()
    asked = scene.asked
    assert not await scene.replica.reach(world.deps.clock.now(), 1.0)
    assert scene.asked == asked


async def test_it_is_checked_every_second(scene: Scene) -> None:
    async with watching(scene.replica):
        while scene.asked < 4:  # noqa: ASYNC110 - the clock of the scene only gives way
            await asyncio.sleep(0)
    asked = scene.asked
    await asyncio.sleep(0.05)
    assert scene.asked == asked
    async with watching(None):
        pass


async def test_reads_go_to_the_primary_without_a_replica(world: World) -> None:
    async def read(database: Database) -> Database:
        return database

    assert await world.deps.history().read(read) is world.deps.db
    assert await (await world.deps.history_to_now()).read(read) is world.deps.db
    assert world.deps.page_began() is None


async def test_reads_go_to_the_replica_if_it_is_complete(scene: Scene, world: World) -> None:
    async def read(database: Database) -> Database:
        return database

    deps = replace(world.deps, replica=scene.replica)
    assert await deps.history().read(read) is deps.db  # it was not checked yet
    await scene.replica.check()
    now = deps.clock.now()
    assert await deps.history().read(read) is scene.database
    assert await deps.history(now - timedelta(seconds=1)).read(read) is scene.database
    assert await deps.history(now + timedelta(seconds=1)).read(read) is deps.db
    began = deps.page_began()
    assert began is not None
    assert began >= now


async def test_a_download_checks_the_replica_first(scene: Scene, world: World) -> None:
    async def read(database: Database) -> Database:
        return database

    deps = replace(world.deps, replica=scene.replica)
    assert await (await deps.history_to_now()).read(read) in (deps.db, scene.database)
    assert scene.asked


async def _failing(scene: Scene, statement: str) -> list[Database]:
    """Where a read was tried whose statement fails on the replica."""
    tried: list[Database] = []

    async def read(database: Database) -> None:
        tried.append(database)
        async with database.begin() as tx:
            await tx.rows(statement if database is scene.database else "SELECT 1")

    await scene.replica.check()
    reader = HistoryReader(scene.world.deps.db, scene.replica)
    await reader.read(read)
    await reader.read(read)
    return tried


async def test_a_cancelled_read_is_repeated_and_its_reader_stays(scene: Scene) -> None:
    primary = scene.world.deps.db
    conflict = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$"
    assert await _failing(scene, conflict) == [scene.database, primary, primary]
    assert scene.replica.is_fit


async def test_a_lost_connection_is_repeated_and_the_replica_is_left(scene: Scene) -> None:
    primary = scene.world.deps.db
    lost = "SELECT pg_terminate_backend(pg_backend_pid())"
    assert await _failing(scene, lost) == [scene.database, primary, primary]
    assert scene.replica.fitness.code == "away"


async def test_a_slow_read_is_not_repeated(scene: Scene) -> None:
    slow = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57014'; END $$"
    with pytest.raises(Unavailable, match="took too long"):
        await _failing(scene, slow)
    assert scene.replica.is_fit


async def test_a_refusal_is_not_repeated(scene: Scene) -> None:
    await scene.replica.check()

    async def refuse(database: Database) -> None:
        assert database is scene.database
        raise BadRequest("no")

    with pytest.raises(BadRequest):
        await HistoryReader(scene.world.deps.db, scene.replica).read(refuse)
