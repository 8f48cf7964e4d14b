"""One walk through everything: real parts, a worker process, and what is left when it is killed."""

import json
import signal
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from gateway.flows.deps import Deps
from gateway.runtime import open_deps
from tests.e2e.outside import (
    Inbox,
    Simulator,
    accept,
    end_leases,
    environment,
    listen,
    listen_to_callbacks,
    new_tenant,
    owed,
    receiving,
    settings_of,
    states,
    until,
    working,
)
from tests.simulator.process import running


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with running() as process:
        yield Simulator(process.api)


@dataclass
class Scene:
    """All that a walk needs; workers are started by it."""

    deps: Deps
    simulator: Simulator
    inbox: Inbox
    given: dict[str, str]
    log: Path

    async def finished(self, ids: list[UUID]) -> bool:
        """Whether every job has ended, and every webhook has arrived."""
        now = await states(self.deps)
        ended = now.get("succeeded", 0) + now.get("failed", 0)
        return (
            ended >= len(ids)
            and self.inbox.ended().keys() >= set(map(str, ids))
            and not await owed(self.deps)
        )


@pytest.fixture
async def scene(
    database_url: str, redis_url: str, simulator: Simulator, tmp_path: Path
) -> AsyncIterator[Scene]:
    given = environment(database_url, redis_url)
    async with open_deps(settings_of(given), "test") as deps, receiving() as inbox:
        async with deps.db.single() as tx:
            await tx.rows("TRUNCATE job, event, delivery, attempt, job_event")
        yield Scene(deps, simulator, inbox, given, tmp_path / "worker.log")


async def test_jobs_go_all_the_way_and_a_stopped_worker_leaves_nothing_half_done(scene: Scene):
    deps, inbox = scene.deps, scene.inbox
    tenant = await new_tenant(deps, "walk", scene.simulator)
    await listen(deps, tenant, inbox)
    inbox.first = [500, 404]
    await scene.simulator.control(
        "/faults", {"action": {"type": "ambiguous"}, "match": {"route": "submit"}, "times": 2}
    )
    good = await accept(deps, tenant, 30)
    bad = await accept(deps, tenant, 3, outcome="FAILED", errorCode="BAD_INPUT")
    with working(scene.given, scene.log) as worker:
        await until(lambda: scene.finished(good + bad), 80)
        assert worker.end() == 0
    assert inbox.forged == []
    told = {event["data"]["id"]: event for event in inbox.events().values()}
    assert inbox.ended() == dict.fromkeys(map(str, good + bad), 1)
    for job_id in good:
        assert told[str(job_id)]["type"] == "job.succeeded"
        assert told[str(job_id)]["data"]["result"]
    for job_id in bad:
        assert told[str(job_id)]["data"]["error"]["code"] == "BAD_INPUT"
    assert await states(deps) == {"succeeded": 30, "failed": 3}
    stats = await scene.simulator.control("/stats")
    assert (stats["submissions"], stats["markers"], stats["repeated"]) == (33, 33, {})
    lines = worker.lines()
    assert lines[-1]["event"] == "worker stopped"
    assert lines[-1]["cut_off"] == 0
    assert {"submit", "lookup", "job", "deliver"} <= {line["event"] for line in lines}
    assert "sim-walk" not in json.dumps(lines)
    assert "whsec_" not in json.dumps(lines)


async def test_a_worker_that_is_killed_in_the_middle_loses_and_repeats_nothing(scene: Scene):
    deps, inbox = scene.deps, scene.inbox
    tenant = await new_tenant(deps, "kill", scene.simulator)
    await listen_to_callbacks(deps, tenant, inbox)
    # Answers are slow, so that many submits are under way whenever the worker dies.
    await scene.simulator.control(
        "/faults", {"action": {"type": "delay", "seconds": 0.4}, "match": {"route": "submit"}}
    )
    ids = await accept(deps, tenant, 60, callback=inbox)
    scene.given["GATEWAY_SUBMIT_CONCURRENCY"] = "10"

    async def enough() -> bool:
        return (await scene.simulator.control("/stats"))["submissions"] >= 15

    with working(scene.given, scene.log) as worker:
        await until(enough)
        assert worker.end(signal.SIGKILL) == -signal.SIGKILL
    await end_leases(deps)
    assert (await states(deps)).get("submitting", 0) > 0, "the worker died with work in its hands"
    with working(scene.given, scene.log) as worker:
        await until(lambda: scene.finished(ids), 80)
        assert worker.end() == 0
    assert await states(deps) == {"succeeded": 60}
    assert inbox.forged == []
    assert inbox.ended() == dict.fromkeys(map(str, ids), 1)
    stats = await scene.simulator.control("/stats")
    assert (stats["submissions"], stats["markers"], stats["repeated"]) == (60, 60, {})


async def test_a_worker_that_is_asked_to_stop_finishes_what_is_in_its_hands(scene: Scene):
    deps = scene.deps
    tenant = await new_tenant(deps, "stop", scene.simulator)
    await scene.simulator.control(
        "/faults", {"action": {"type": "delay", "seconds": 0.5}, "match": {"route": "submit"}}
    )
    await accept(deps, tenant, 200)
    scene.given["GATEWAY_SUBMIT_CONCURRENCY"] = "20"
    with working(scene.given, scene.log) as worker:

        async def begun() -> bool:
            return (await states(deps)).get("submitting", 0) >= 10

        await until(begun)
        assert worker.end() == 0
    left = await states(deps)
    assert "submitting" not in left
    assert left.get("accepted", 0) > 100, "it took on more work after it was asked to stop"
    stats = await scene.simulator.control("/stats")
    assert stats["submissions"] == 200 - left["accepted"]
    assert worker.lines()[-1]["cut_off"] == 0
