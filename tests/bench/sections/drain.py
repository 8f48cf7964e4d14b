"""How fast one worker takes accepted jobs to their delivered webhooks, and at what price."""

import asyncio
import time
from typing import Any

import redis.asyncio as redis

from tests.bench.harness.gateways import IN_FLIGHT, TENANTS, Gateway, body, make_gateway
from tests.bench.harness.load import Load
from tests.bench.harness.parts import LISTS, Meter, Outside, Servers, send, start_outside
from tests.bench.options import Options

_RUN_SECONDS = 2.0
_PATIENCE_SECONDS = 60.0
# The worker writes down the last deliveries a moment after the receiver has them.
_RECORDED_SECONDS = 0.5
_OURS = {"cmdstat_info", "cmdstat_auth", "cmdstat_hello", "cmdstat_client|setinfo"}


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Accept all jobs while no worker runs, then start one and wait for the last webhook."""
    return await drain("drain", servers, options.jobs)


async def drain(
    name: str,
    servers: Servers,
    jobs: int,
    *,
    turn: int = 0,
    tenants: int = TENANTS,
    in_flight: int = IN_FLIGHT,
) -> dict[str, Any]:
    """The same for so many tenants, with so many jobs of each at the upstream at most."""
    async with start_outside(servers.folder) as outside:
        await outside.tell(LISTS)
        gateway = await make_gateway(
            name, servers, outside, turn=turn, tenants=tenants, in_flight=in_flight
        )
        before = await gateway.transactions()
        accepts = await _accept(gateway, servers, jobs)
        accepted = await gateway.transactions()
        found = await _drain(gateway, outside, jobs)
        drained = await gateway.transactions()
    return {
        "jobs": jobs,
        "credentials": tenants,
        "upstreamSeconds": _RUN_SECONDS,
        **accepts,
        **found,
        "transactionsPerJob": {
            "accept": round((accepted - before) / jobs, 3),
            "drain": round((drained - accepted) / jobs, 3),
            "all": round((drained - before) / jobs, 3),
        },
    }


async def _accept(gateway: Gateway, servers: Servers, jobs: int) -> dict[str, Any]:
    async with gateway.api() as api:
        await gateway.seed(api)
        meter = Meter({"api": api.pid, "postgres": servers.postgres.pid})
        load = Load(
            port=api.port, path="/v1/job", keys=gateway.keys, body=body(_RUN_SECONDS), count=jobs
        )
        outcome = await send(load)
        cpu = meter.milliseconds(jobs)
    return {"acceptsPerSecond": round(outcome.rate, 1), "acceptCpuMsPerJob": cpu}


async def _drain(gateway: Gateway, outside: Outside, jobs: int) -> dict[str, Any]:
    servers = gateway.servers
    commands, calls = await _commands(servers.valkey.url), await outside.calls()
    meter = Meter(
        {
            "postgres": servers.postgres.pid,
            "valkey": servers.valkey.pid,
            "simulator": outside.simulator.pid,
            "receiver": outside.receiver.pid,
        }
    )
    async with gateway.worker() as worker:
        own, ready_at = Meter({"worker": worker.pid}), time.time()
        await outside.heard_of(jobs, _PATIENCE_SECONDS)
        await asyncio.sleep(_RECORDED_SECONDS)
        cpu = own.milliseconds(jobs) | meter.milliseconds(jobs)
        commands, calls = (
            await _commands(servers.valkey.url) - commands,
            await outside.calls() - calls,
        )
    arrivals = await outside.arrivals()
    started_at = min(ready_at, min((await outside.submitted()).values(), default=ready_at))
    seconds = max(arrivals.values(), default=started_at) - started_at
    stats = await outside.ask("/stats")
    if len(arrivals) < jobs or stats["submissions"] != jobs:
        unheard = await gateway.states(apart=arrivals)
        raise RuntimeError(
            f"of {jobs} jobs {len(arrivals)} came to their webhook within {_PATIENCE_SECONDS:.0f} s, "
            f"the others are {unheard}, "
            f"and the upstream had {stats['submissions']} submits. The worker's complaints:\n"
            + gateway.complaints("worker")
        )
    return {
        "seconds": round(seconds, 3),
        "jobsPerSecond": round(jobs / seconds, 1),
        "cpuMsPerJob": cpu,
        "upstreamCallsPerJob": round(calls / jobs, 3),
        "upstreamCalls": stats["totals"],
        "valkeyCommandsPerJob": round(commands / jobs, 3),
    }


async def _commands(url: str) -> int:
    """What Valkey has done so far, also inside scripts, apart from being asked this."""
    async with redis.Redis.from_url(url) as client:
        counts: dict[str, dict[str, int]] = await client.info("commandstats")
    return sum(count["calls"] for name, count in counts.items() if name not in _OURS)
