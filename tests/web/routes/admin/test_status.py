"""The status, the queue and the metrics of the whole gateway."""

import asyncio
import re

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.exposition import ProcessState, ReplicaUse, exposition
from gateway.flows.health.heartbeat import Heart
from gateway.flows.process.read_replica import Replica
from gateway.store.database import PoolUse, open_database
from gateway.store.processes import Identity
from tests.web.conftest import World, fields_of, problem

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def heard(world: World, kind: str, ago: float = 0.0) -> str:
    who = Identity(world.deps.ids.uuid(), kind, "host-1", 7, __version__)
    assert await Heart(world.deps, who).beat()
    async with world.deps.db.single() as tx:
        await tx.run(
            "UPDATE process SET seen_at = now() - $2 * interval '1 second' WHERE id = $1",
            *(who.id, ago),
        )
    return str(who.id)


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nobody(world: World) -> None:
    """There are no heartbeats, and nothing is cached."""
    async with world.deps.db.single() as tx:
        await tx.run("DELETE FROM process")
    world.client = await world.serve()


async def scraped(world: World) -> dict[tuple[str, ...], float]:
    """The samples of the page, by name and values of labels."""
    answer = await world.call("GET", "/metrics")
    assert answer.status_code == 200
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name, *sample.labels.values())
            assert key not in found, "no series is there twice"
            found[key] = sample.value
    return found


async def test_the_status_has_all_parts(world: World, acme: str) -> None:
    await world.job(acme)
    worker, api = await heard(world, "worker"), await heard(world, "api")

    found = await world.get("/admin/v1/status", world.operator)

    assert (found["status"], found["problems"], found["version"]) == ("ok", [], __version__)
    assert found["postgres"]["status"] == "ok"
    assert found["redis"] == {"status": "ok"}
    assert {one["id"]: one["kind"] for one in found["processes"]} == {worker: "worker", api: "api"}
    one = found["processes"][0]
    assert (one["host"], one["pid"], one["version"], one["state"]) == (
        *("host-1", 7, __version__),
        "ok",
    )
    assert one["startedAt"] <= one["lastHeartbeatAt"]
    assert found["queue"]["workers"]["ok"] == 1
    assert 0 <= found["feedLagSeconds"] < 60


async def test_a_frozen_worker_is_stale_within_15_seconds(world: World) -> None:
    await heard(world, "worker", ago=12.5)

    found = await world.get("/admin/v1/status", world.operator)

    assert found["status"] == "down"
    assert [one["code"] for one in found["problems"]] == ["NO_WORKER"]
    assert found["processes"][0]["state"] == "stale"


async def test_the_queue_shows_all_open_work(world: World, acme: str) -> None:
    await world.job(acme)
    other = await world.tenant("other")
    await world.job(other)
    await world.send("POST", f"/admin/v1/tenant/{other}/suspend", world.operator)
    await heard(world, "worker")

    queue = await world.get("/admin/v1/queue", world.operator)

    jobs = {one["state"]: one["jobs"] for one in queue["jobs"]}
    lines = {one["queue"]: one for one in queue["queues"]}
    assert set(lines) == {"accepted", "submitting", "poll", "deliver", "bulk"}
    assert jobs["accepted"] == lines["accepted"]["due"] + lines["accepted"]["deferred"]
    assert lines["accepted"]["held"]["suspended"] >= 1
    assert lines["accepted"]["oldestSeconds"] >= 0
    assert queue["workers"]["ok"] == 1
    assert queue["workers"]["lastHeartbeatAt"].endswith("Z")


async def test_only_operators_see_it(world: World, acme: str) -> None:
    for path in ("status", "queue"):
        problem(await world.call("GET", f"/admin/v1/{path}", acme), 403, "FORBIDDEN")


# --- Metrics ------------------------------------------------------------------------------------


async def test_metrics_are_prometheus_text(world: World) -> None:
    """The media type has one charset: Prometheus refuses a type with a repeated parameter."""
    answer = await world.call("GET", "/metrics")

    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert "gw_http_requests_total" in answer.text


async def test_the_metrics_show_the_gateway_and_the_process(world: World, acme: str) -> None:
    await world.job(acme)
    await heard(world, "worker", ago=60.0)
    await heard(world, "worker")
    await heard(world, "api")

    found = await scraped(world)

    assert found["gw_database_up",] == 1
    assert found["gw_redis_connected",] == 1
    assert found["gw_workers_seen", "ok"] == 1
    assert found["gw_workers_seen", "stale"] == 0
    assert found["gw_workers_seen", "replaced"] == 1
    assert found["gw_api_processes_seen", "ok"] == 1
    assert found["gw_worker_heartbeat_age_seconds",] < 12
    assert found["gw_jobs_current", "accepted"] >= 1
    assert found["gw_queue_due", "accepted"] >= 1
    assert found["gw_queue_held", "deliver", "retry"] == 0
    assert found["gw_queue_oldest_seconds", "deliver"] == 0
    assert found["gw_tenants_waiting",] >= 1
    assert found["gw_endpoints_failing", "100"] == 0
    assert found["gw_database_pool_size",] == 5
    assert found["gw_database_pool_connections", "waiting"] == 0
    assert found["process_resident_memory_bytes",] > 0
    assert 0 <= found["gw_feed_lag_seconds",] < 60


async def test_the_metrics_of_a_replica_are_shown_where_there_is_one(
    world: World, database_url: str
) -> None:
    assert ("gw_replica_in_use",) not in await scraped(world)
    deps, database = world.deps, open_database(database_url, pool=1, name="replica")
    replica = Replica(database, deps.db, deps.clock, 5.0)
    world.client = await world.serve(replica=replica)
    found = await scraped(world)
    assert found["gw_replica_in_use",] == 0
    assert ("gw_replica_lag_seconds",) not in found
    await database.close()
    used = ProcessState(True, True, PoolUse(1, 0, 0), 0.0, 0.0, ReplicaUse(True, 0.25))
    lines = exposition(used).decode().splitlines()
    assert {"gw_replica_in_use 1.0", "gw_replica_lag_seconds 0.25"} <= {*lines}


async def test_only_a_silent_process_without_a_successor_is_counted_as_stale(world: World) -> None:
    await heard(world, "worker")
    async with world.deps.db.single() as tx:
        await tx.run("UPDATE process SET started_at = now() - interval '1 hour'")
    await heard(world, "worker", ago=60.0)
    await heard(world, "api", ago=60.0)

    before = await scraped(world)
    await heard(world, "worker")
    await heard(world, "api")
    world.client = await world.serve()
    after = await scraped(world)

    for name in ("gw_workers_seen", "gw_api_processes_seen"):
        assert (before[name, "stale"], before[name, "replaced"]) == (1, 0)
        assert (after[name, "stale"], after[name, "replaced"]) == (0, 1)
    assert after["gw_workers_seen", "ok"] == 2


async def test_nothing_is_frozen_while_the_database_is_away(
    world: World, unused_tcp_port: int
) -> None:
    url = f"postgresql+asyncpg://nobody@127.0.0.1:{unused_tcp_port}/none"
    away = open_database(url, pool=2, name="test")
    assert ("gw_queue_due", "accepted") in await scraped(world)
    world.client = await world.serve(db=away)

    found = await scraped(world)

    assert found["gw_database_up",] == 0
    shown = {name for name, *_ in found if name.startswith(("gw_queue", "gw_jobs_current"))}
    assert shown == set()
    await away.close()


async def test_requests_that_wait_for_a_connection_are_counted(database_url: str) -> None:
    small = open_database(
        database_url.replace("postgresql://", "postgresql+asyncpg://"), pool=1, name="test"
    )
    async with small.single():
        waiting = asyncio.create_task(small.open_ahead(1))
        await asyncio.sleep(0.05)
        assert small.use == (1, 1, 1)
    await waiting
    assert small.use == (1, 0, 0)
    await small.close()


async def test_every_help_text_is_a_sentence(world: World) -> None:
    text = (await world.call("GET", "/metrics")).text
    helps = re.findall(r"^# HELP (gw_\S+) (.*)$", text, re.MULTILINE)
    assert len(helps) > 40
    assert [name for name, words in helps if not words.endswith(".")] == []


async def test_the_throughput_has_a_point_for_each_span(world: World) -> None:
    done = world.deps.vitals.throughput
    done.note("accept", "accepted", 0.0, {})
    done.note("job", "failed", 2.0, {"queue_seconds": 0.5, "upstream_seconds": 1.0})
    done.note("deliver", "delivered", 0.02, {})
    await heard(world, "worker")
    for window, step, points in (("1h", 60, 60), ("24h", 600, 144), ("7d", 3600, 168)):
        found = await world.get(f"/admin/v1/throughput?window={window}", world.operator)
        assert (found["window"], found["stepSeconds"]) == (window, step)
        assert len({point["at"] for point in found["points"]}) == points
        last = max(found["points"], key=lambda point: point["accepted"])
        assert (last["accepted"], last["failed"], last["webhooksDelivered"]) == (1, 1, 1)
        assert last["endToEndSeconds"]["p50"] == pytest.approx(2.0, rel=0.03)
        assert last["attemptSeconds"]["p99"] == pytest.approx(0.02, rel=0.03)
        empty = found["points"][0]
        assert (empty["accepted"], empty["queueWaitSeconds"]) == (0, None)
        assert found["lastHour"] == {"accepted": 1, "succeeded": 0, "failed": 1}
        assert found["sameHourYesterday"] == {"accepted": 0, "succeeded": 0, "failed": 0}


async def test_a_window_that_there_is_not_is_refused(world: World) -> None:
    answer = await world.call("GET", "/admin/v1/throughput?window=2h", world.operator)
    assert fields_of(problem(answer, 400, "BAD_REQUEST")) == ["window"]
