"""Faults of the gateway's own processes, tenants and endpoints, each for the time of a block."""

import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from tests.faults.drills.drill import query
from tests.faults.harness.waiting import until
from tests.faults.harness.world import Faults
from tests.faults.night.deployment import NO_CHANGES, Night, job

Injected = AsyncGenerator[Mapping[str, str]]
_FAIL = """
UPDATE endpoint SET failing_since = now() - interval '4.6 days', failures = 25
WHERE id = $1::uuid"""
_WAITING = """
SELECT count(*) FROM job j JOIN tenant t ON t.id = j.tenant_id WHERE t.slug = $1 AND j.state = 'accepted'"""
_AT_UPSTREAM = """
SELECT count(*) FROM job j JOIN tenant t ON t.id = j.tenant_id
WHERE t.slug = $1 AND j.state IN ('submitted', 'running')"""
_SECONDS = 30.0


@asynccontextmanager
async def no_worker(night: Night) -> Injected:
    """Every worker ended."""
    for worker in night.world.workers:
        await worker.stop()
    yield NO_CHANGES
    await night.work()


@asynccontextmanager
async def frozen_worker(night: Night) -> Injected:
    """A worker hangs."""
    frozen = night.world.workers[0]
    frozen.signal(signal.SIGSTOP)
    yield NO_CHANGES
    frozen.signal(signal.SIGCONT)


@asynccontextmanager
async def other_version(night: Night) -> Injected:
    """One worker was forgotten in an update."""
    async with _odd_worker(night, {"version": "0.0.9"}):
        yield NO_CHANGES


@asynccontextmanager
async def wrong_clock(night: Night) -> Injected:
    """The clock of one worker's host is two minutes ahead."""
    async with _odd_worker(night, {"skew": 120}):
        yield NO_CHANGES


@asynccontextmanager
async def suspended_tenant(night: Night) -> Injected:
    """A tenant was suspended, and its jobs wait."""
    async with _crowded(night):
        place = f"/admin/v1/tenant/{night.tenant.slug}"
        await night.world.told("POST", f"{place}/suspend", night.rig.operator_key)
        yield NO_CHANGES
        await night.world.told("POST", f"{place}/resume", night.rig.operator_key)


@asynccontextmanager
async def full_queue(night: Night) -> Injected:
    """A tenant has as many jobs waiting as it may have."""
    async with _crowded(night):
        yield NO_CHANGES


@asynccontextmanager
async def failing_endpoint(night: Night) -> Injected:
    """A receiver has failed for days."""
    body = {"url": f"{night.world.hooks}/hook/other", "events": ["endpoint.disabled"]}
    endpoint = await night.world.told("POST", "/v1/endpoint", night.tenant.key, body)
    await query(night.world, _FAIL, endpoint["id"])
    yield NO_CHANGES
    await night.world.told("DELETE", f"/v1/endpoint/{endpoint['id']}", night.tenant.key)


@asynccontextmanager
async def _odd_worker(night: Night, faults: Faults) -> AsyncGenerator[None]:
    odd = await night.world.work(faults=faults, GATEWAY_WORKER_PORT=str(night.odd_port))
    yield
    await odd.stop()


@asynccontextmanager
async def _crowded(night: Night) -> AsyncGenerator[None]:
    """One job of the tenant runs, and two wait, as many as may wait."""
    await _limit(night, most=1, queued=2)
    jobs = [await _submit(night)]
    await until(lambda: _count(night, _AT_UPSTREAM, 1), _SECONDS)
    jobs += [await _submit(night) for _ in range(2)]
    await until(lambda: _count(night, _WAITING, 2), _SECONDS)
    yield
    for one in jobs:
        await night.world.told("DELETE", f"/v1/job/{one}", night.tenant.key)
    await _limit(night, most=None, queued=None)


async def _limit(night: Night, most: int | None, queued: int | None) -> None:
    change = {"limits": {"maxInFlight": most, "maxQueued": queued}}
    place = f"/admin/v1/tenant/{night.tenant.slug}"
    await night.world.told("PATCH", place, night.rig.operator_key, change)


async def _submit(night: Night) -> Any:
    return (await night.world.told("POST", "/v1/job", night.tenant.key, job()))["id"]


async def _count(night: Night, sql: str, wanted: int) -> bool:
    (row,) = await query(night.world, sql, night.tenant.slug)
    return row[0] == wanted
