"""Faults of Redis, of the upstream, and of the settings, each for the time of a block."""

import base64
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis

from tests.faults.night.deployment import NO_CHANGES, Night, job
from tests.redis_kinds import redis_server

Injected = AsyncGenerator[Mapping[str, str]]


@asynccontextmanager
async def redis_refused(night: Night) -> Injected:
    """The server is killed."""
    await night.rig.valkey_server.kill()
    yield NO_CHANGES
    await night.rig.valkey_server.revive()


@asynccontextmanager
async def redis_password(night: Night) -> Injected:
    """Somebody changed the password."""
    async with _redis(night) as client:
        await client.config_set("requirepass", "changed")
        yield NO_CHANGES
        await client.config_set("requirepass", night.rig.valkey.password)


@asynccontextmanager
async def redis_full(night: Night) -> Injected:
    """Somebody else's keys fill its memory."""
    async with _redis(night) as client:
        await client.config_set("maxmemory", "1")
        yield NO_CHANGES
        await client.config_set("maxmemory", "0")


@asynccontextmanager
async def redis_cluster(night: Night) -> Injected:
    """The address leads to a Redis Cluster."""
    async with redis_server(night.rig.folder / "cluster", "cluster-enabled yes") as server:
        yield {"GATEWAY_REDIS_URL": f"redis://{server.place}/0"}


@asynccontextmanager
async def upstream_down(night: Night) -> Injected:
    """Nobody answers there."""
    night.links.upstream.cut()
    yield NO_CHANGES
    night.links.upstream.heal()


@asynccontextmanager
async def credential_refused(night: Night) -> Injected:
    """The upstream revoked the key of a tenant, whose job waits; the repair is another key."""
    tenant, world = night.tenant, night.world
    fault = {"match": {"key": tenant.upstream_key}, "action": _answer(401)}
    async with _upstream_fault(night, fault):
        made = await world.told("POST", "/v1/job", tenant.key, job())
        yield NO_CHANGES
    place, operator = f"/admin/v1/tenant/{tenant.slug}/credential", night.rig.operator_key
    await world.told("PUT", place, operator, {"apiKey": tenant.upstream_key})
    await world.told("DELETE", f"/v1/job/{made['id']}", tenant.key)


@asynccontextmanager
async def upstream_limits(night: Night) -> Injected:
    """The upstream answers everybody with 429."""
    async with _upstream_fault(night, {"action": {**_answer(429), "retryAfter": 1}}):
        yield NO_CHANGES


@asynccontextmanager
async def master_key_missing(_: Night) -> Injected:
    """The host has another master key."""
    yield {"GATEWAY_MASTER_KEY": base64.b64encode(os.urandom(32)).decode()}


@asynccontextmanager
async def misspelt_setting(_: Night) -> Injected:
    """A setting has a typo, so the default is in force."""
    yield {"GATEWAY_DELIVER_CONCURENCY": "3"}


@asynccontextmanager
async def _upstream_fault(night: Night, fault: Mapping[str, Any]) -> AsyncGenerator[None]:
    await night.rig.control("/faults", fault)
    yield
    await night.rig.client.delete(f"{night.rig.simulator}/_control/faults")


def _answer(status: int) -> dict[str, Any]:
    return {"type": "respond", "status": status}


@asynccontextmanager
async def _redis(night: Night) -> AsyncGenerator[Any]:
    client: Any = Redis.from_url(night.rig.valkey.url)
    try:
        await client.ping()
        yield client
    finally:
        await client.aclose()
