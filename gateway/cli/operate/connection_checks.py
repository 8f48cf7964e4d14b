"""The checks of `gateway config validate --connect`: Postgres, Redis, and the master keys."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from redis.asyncio import Redis

from gateway.adapters.clock import PostgresClock, SystemClock
from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.redis.failure_causes import diagnose
from gateway.adapters.wakeups.redis_commands import probe
from gateway.config.environment import InvalidSettingsError
from gateway.config.redis_url import parse_redis_url
from gateway.core.crypto.cipher import Cipher
from gateway.flows.admin import master_keys
from gateway.flows.health.readiness import readiness_of
from gateway.flows.process.read_replica import Replica
from gateway.settings import Settings
from gateway.store.database import Database, open_database

_REPLICA_SECONDS = 3.0


class ConnectionCheck(NamedTuple):
    """The result of a check, and the reason if it failed."""

    name: str
    is_well: bool
    text: str = ""


async def checks(settings: Settings) -> AsyncIterator[ConnectionCheck]:
    """Run the checks one by one; each takes a few seconds at most."""
    url = settings.database_url.get_secret_value()
    database = open_database(url, pool=2, name="gateway config")
    try:
        found = await readiness_of(database)
        is_well = found.status == "ok"
        why = database.place if is_well else f"{database.place}: {found.status}: {found.cause}"
        yield ConnectionCheck("postgres", is_well, why)
        if settings.read_database_url.get_secret_value():
            yield await _replica(settings, database)
        yield await _redis(settings.redis_url.get_secret_value())
        if is_well:
            yield await _keys(database, Cipher(settings.master_keys))
        else:
            yield ConnectionCheck("master keys", False, "cannot be checked without Postgres")
    finally:
        await database.close()


async def _replica(settings: Settings, primary: Database) -> ConnectionCheck:
    url, clock = settings.read_database_url.get_secret_value(), PostgresClock(SystemClock())
    database = open_database(url, pool=1, name="gateway config")
    replica = Replica(database, primary, clock, settings.read_max_lag_seconds)
    try:
        await replica.reach(clock.now(), _REPLICA_SECONDS)
    finally:
        await database.close()
    why = f"{database.place}: {replica.fitness.cause}" if replica.fitness.code else database.place
    return ConnectionCheck("read replica", not replica.fitness.code, why)


async def _redis(url: str) -> ConnectionCheck:
    address, client = parse_redis_url(url), connect(url, Redis)
    try:
        await probe(client)
    except LOST as error:
        return ConnectionCheck("redis", False, f"{address}: {await diagnose(error, address)}")
    finally:
        await client.aclose()
    return ConnectionCheck("redis", True, str(address))


async def _keys(database: Database, cipher: Cipher) -> ConnectionCheck:
    found = await master_keys.uses(database, cipher)
    try:
        master_keys.refuse_missing(found)
    except InvalidSettingsError as error:
        return ConnectionCheck("master keys", False, str(error).replace("\n", "; "))
    return ConnectionCheck(
        "master keys", True, f"open all of {sum(use.total for use in found)} secrets"
    )
