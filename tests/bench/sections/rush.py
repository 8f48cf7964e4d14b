"""One busy tenant with one credential and one endpoint, and jobs that come all at once."""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from gateway.embedded import free_port
from tests.bench.baselines import plain_arq
from tests.bench.harness.gateways import Gateway, body, emptied, make_gateway
from tests.bench.harness.load import Load, Outcome
from tests.bench.harness.owed import connected
from tests.bench.harness.parts import (
    LISTS,
    Meter,
    Outside,
    Running,
    Servers,
    send,
    start,
    start_outside,
)
from tests.bench.sections.latency import spread

RUN_SECONDS = 5.0
_IN_FLIGHT = 20_000
_PATIENCE_SECONDS = 180.0
# Whoever is measured has nothing left to do from its start.
_SETTLE_SECONDS = 2.0
_LOOKUPS = re.compile(r"^gw_upstream_lookups_total\S* (\S+)$", re.MULTILINE)
_OPEN = ("accepted", "submitting", "submitted", "running")


@dataclass(frozen=True, slots=True)
class Rush:
    """How jobs come: `jobs` as fast as 64 callers can, or at a rate."""

    name: str
    jobs: int
    rate: float = 0.0
    workers: tuple[str, ...] = ("worker",)
    apis: tuple[str, ...] = ("api",)
    tenants: int = 1
    turn: int = 0

    def load(self, port: int, keys: list[str]) -> Load:
        """What sends them."""
        return Load(
            port=port,
            path="/v1/job",
            keys=keys,
            body=body(RUN_SECONDS),
            count=self.jobs,
            rate=self.rate,
            keeps_answers=True,
        )


@dataclass(frozen=True, slots=True)
class Result:
    """The figures of one rush, and in words what was lost in it."""

    figures: dict[str, Any]
    losses: Sequence[str]


async def rush_gateway(servers: Servers, rush: Rush) -> Result:
    """Send a rush to a gateway that knows nothing yet: API and workers are up and idle."""
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(start_outside(servers.folder))
        await outside.tell(LISTS)
        gateway = await make_gateway(
            rush.name,
            servers,
            outside,
            turn=rush.turn,
            tenants=rush.tenants,
            in_flight=_IN_FLIGHT,
        )
        port = free_port()
        apis = {
            name: await stack.enter_async_context(gateway.api(name, port)) for name in rush.apis
        }
        await gateway.seed(apis[rush.apis[0]])
        workers = {
            name: await stack.enter_async_context(gateway.worker(name)) for name in rush.workers
        }
        pids = {name: part.pid for name, part in {**workers, **apis}.items()}
        pids["postgres"] = servers.postgres.pid
        found = await _rush(rush, outside, rush.load(port, gateway.keys), pids)
        found["lookups"] = sum([await _lookups(outside, worker) for worker in workers.values()])
        return await _judged(rush, gateway, outside, found)


async def _lookups(outside: Outside, worker: Running) -> int:
    text = (await outside.client.get(f"{worker.url}/metrics")).raise_for_status().text
    return round(sum(map(float, _LOOKUPS.findall(text))))


async def _judged(rush: Rush, gateway: Gateway, outside: Outside, found: dict[str, Any]) -> Result:
    states = Counter(await gateway.states())
    unheard = await gateway.states(apart=await outside.arrivals())
    found["notEnded"] = sum(states[state] for state in _OPEN)
    found["inDoubt"] = states["submitting"]
    found["notSucceeded"] = states.total() - states["succeeded"] - found["notEnded"]
    losses = _losses(rush, unheard, found["submits"])
    if found["notSucceeded"]:
        losses.append(f"{rush.name}: {found['notSucceeded']} jobs ended without success")
    if losses:
        losses += filter(None, map(gateway.complaints, rush.workers))
    return Result(found, losses)


def _losses(rush: Rush, unheard: dict[str, int], submits: int) -> list[str]:
    losses: list[str] = []
    if unheard:
        states = ", ".join(f"{count} {state}" for state, count in sorted(unheard.items()))
        losses.append(
            f"{rush.name}: {sum(unheard.values())} of {rush.jobs} jobs had no webhook after"
            f" {_PATIENCE_SECONDS:.0f} s: {states}"
        )
    if submits > rush.jobs:
        losses.append(f"{rush.name}: the upstream had {submits} submits for {rush.jobs} jobs")
    return losses


async def rush_plain(servers: Servers, rush: Rush) -> Result:
    """Send the same rush to a plain arq task per job."""
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(start_outside(servers.folder))
        await outside.tell(LISTS)
        url = await servers.database(f"{rush.name}-{rush.turn}", migrated=False)
        env = {
            plain_arq.DATABASE: url.replace("+asyncpg", ""),
            plain_arq.REDIS: await emptied(servers, rush.name),
            plain_arq.UPSTREAM: f"{outside.simulator.url}/v1",
            plain_arq.RECEIVER: f"{outside.receiver.url}/hook",
        }
        connection = await stack.enter_async_context(connected(url))
        await connection.execute(plain_arq.SCHEMA)
        api = await stack.enter_async_context(_start_api(servers, env))
        worker = await stack.enter_async_context(_start_worker(servers, env))
        pids = {"api": api.pid, "worker": worker.pid, "postgres": servers.postgres.pid}
        found = await _rush(rush, outside, rush.load(api.port, ["none"]), pids)
        heard = list(await outside.arrivals())
        unheard = dict(await connection.fetch(plain_arq.STATES, heard))
        return Result(found, _losses(rush, unheard, found["submits"]))


def _start_api(servers: Servers, env: dict[str, str]) -> Any:
    port = free_port()
    command = (
        *("granian", "--interface", "asgi", "--loop", "uvloop", "--workers", "1"),
        *("--log-level", "warning", "--port", str(port), "tests.bench.baselines.plain_arq:app"),
    )
    return start(servers.folder, "plain-api", *command, port=port, env=env)


def _start_worker(servers: Servers, env: dict[str, str]) -> Any:
    port = free_port()
    command = ("tests.bench.baselines.plain_arq", str(port))
    return start(servers.folder, "plain-worker", *command, port=port, env=env)


async def _rush(rush: Rush, outside: Outside, load: Load, pids: dict[str, int]) -> dict[str, Any]:
    await asyncio.sleep(_SETTLE_SECONDS)
    before = Counter((await outside.ask("/stats"))["totals"])
    meter = Meter(pids)
    outcome = await send(load)
    await outside.heard_of(rush.jobs, _PATIENCE_SECONDS)
    cpu = meter.milliseconds(rush.jobs)
    stats = await outside.ask("/stats")
    calls = Counter(stats["totals"]) - before
    return {
        "jobs": rush.jobs,
        **await _times(outcome, outside),
        "submits": stats["submissions"],
        "submitsPerJob": round(stats["submissions"] / rush.jobs, 5),
        "upstreamCallsPerJob": round(sum(calls.values()) / rush.jobs, 3),
        "upstreamCalls": dict(calls),
        "cpuMsPerJob": cpu,
    }


async def _times(outcome: Outcome, outside: Outside) -> dict[str, Any]:
    arrivals, completed = await outside.arrivals(), await outside.completed()
    last_accept = max(at for _, _, at in outcome.answers)
    added = [at - completed[job] for job, at in arrivals.items() if job in completed]
    return {
        "acceptsPerSecond": round(outcome.rate, 1),
        "secondsToLastWebhook": round(max(arrivals.values(), default=last_accept) - last_accept, 3),
        "addedSeconds": spread(added),
        "withoutWebhook": len(outcome.answers) - len(arrivals),
    }
