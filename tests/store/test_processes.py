"""Heartbeats: live, silent, stopped and forgotten processes."""

from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from gateway.store import processes
from gateway.store.database import Tx
from gateway.store.processes import Beat, Identity, Workers

BEAT = Beat(up_for=60.0, did="submit submitted", did_ago=2.0, clock_ahead=0.5, redis=True)


async def heard(tx: Tx, kind: str = "worker", *, ago: float = 0.0) -> UUID:
    who = Identity(uuid7(), kind, "host-1", 42, "1.2.3")
    await processes.beat(tx, who, BEAT)
    await tx.run(
        "UPDATE process SET seen_at = now() - $2 * interval '1 second' WHERE id = $1", who.id, ago
    )
    return who.id


async def test_a_heartbeat_names_the_process_and_its_last_work(tx: Tx) -> None:
    who = Identity(uuid7(), "api", "host-1", 42, "1.2.3")
    told = await processes.beat(tx, who, BEAT)
    assert told.horizon <= told.xact
    (one,) = await processes.seen(tx)
    assert one[:5] == (who.id, "api", "host-1", 42, "1.2.3")
    assert (one.seen_at - one.started_at).total_seconds() == 60.0
    assert one.did_at is not None
    assert (one.did, (one.seen_at - one.did_at).total_seconds()) == ("submit submitted", 2.0)
    assert (one.clock_ahead, one.redis, one.state, one.silent) == (0.5, True, "ok", 0.0)


async def test_a_later_heartbeat_replaces_the_earlier_one(tx: Tx) -> None:
    who = Identity(uuid7(), "worker", "host-1", 42, "1.2.3")
    await processes.beat(tx, who, BEAT)
    (first,) = await processes.seen(tx)
    await processes.beat(tx, who, Beat(99.0, None, None, 0.0, redis=False))
    (one,) = await processes.seen(tx)
    assert (one.started_at, one.did, one.redis) == (first.started_at, None, False)


@pytest.mark.parametrize(("ago", "state"), [(0.0, "ok"), (11.9, "ok"), (12.0, "stale")])
async def test_a_silent_process_is_stale(tx: Tx, ago: float, state: str) -> None:
    await heard(tx, ago=ago)
    assert [one.state for one in await processes.seen(tx)] == [state]


async def test_a_stopped_process_may_start_again(tx: Tx) -> None:
    id_ = await heard(tx, ago=60.0)
    await processes.stop(tx, id_)
    assert [one.state for one in await processes.seen(tx)] == ["stopped"]
    await processes.beat(tx, Identity(id_, "worker", "h", 1, "1"), BEAT)
    assert [one.state for one in await processes.seen(tx)] == ["ok"]


async def test_old_processes_are_forgotten_except_the_last_of_each_kind(tx: Tx) -> None:
    old, last = await heard(tx, ago=2_000.0), await heard(tx, ago=1_000.0)
    here, api = await heard(tx, "api", ago=5.0), await heard(tx, "api", ago=599.0)
    assert await processes.forget(tx) == 1
    assert {one.id for one in await processes.seen(tx)} == {last, here, api}
    assert old not in {one.id for one in await processes.seen(tx)}
    await heard(tx)
    assert await processes.forget(tx) == 1


async def test_a_live_worker_is_found(tx: Tx) -> None:
    await heard(tx, "api")
    assert await processes.workers(tx) == Workers(None, False)
    await heard(tx, ago=100.0)
    gone = await processes.workers(tx)
    assert (gone.last is not None, gone.alive) == (True, False)
    await heard(tx)
    assert (await processes.workers(tx)).alive
