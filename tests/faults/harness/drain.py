"""Waits until a world has nothing left to do."""

import asyncio
from typing import Any

import asyncpg

from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

_OPEN = """
SELECT (SELECT count(*) FROM job WHERE state IN ('accepted','submitting','submitted','running'))
  + (SELECT count(*) FROM delivery WHERE state = 'pending')
  + (SELECT count(*) FROM job WHERE upstream_delete_at IS NOT NULL)"""


_LATER = (
    "UPDATE job SET upstream_delete_at = now() WHERE upstream_delete_at IS NOT NULL",
    "UPDATE credential SET paused_until = now() WHERE paused_until > now()",
    "UPDATE credential SET poll_at = now() WHERE poll_at > now()",
    "UPDATE endpoint SET paused_until = now() WHERE paused_until > now()",
    "UPDATE delivery SET next_at = now() WHERE state = 'pending' AND lease_token IS NULL",
)


async def drain(world: World, seconds: float) -> float:
    """Wait until nothing is open any more; how long that took. Raises TimeoutError."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    connection = await connect(world)
    try:
        await until(lambda: _is_at_rest(connection), seconds)
    except TimeoutError:
        raise AssertionError(f"still open after {seconds} s: {await _what(connection)}") from None
    finally:
        await connection.close()
    return loop.time() - began


async def pass_time(world: World) -> None:
    """As if minutes had gone by: what rests for so long is tried again now."""
    connection = await connect(world)
    try:
        for statement in _LATER:
            await connection.execute(statement)
    finally:
        await connection.close()


async def connect(world: World) -> Any:
    """A connection to a world's database, past every proxy."""
    return await asyncpg.connect(world.database.replace("+asyncpg", ""))


async def _is_at_rest(connection: Any) -> bool:
    return not await connection.fetchval(_OPEN)


async def _what(connection: Any) -> list[str]:
    rows = await connection.fetch(
        "SELECT state, count(*), min(next_at - now()) AS due FROM job GROUP BY 1 UNION ALL "
        "SELECT 'delivery ' || state, count(*), min(next_at - now()) FROM delivery GROUP BY 1"
    )
    taken = await connection.fetch(
        "SELECT poll_at - now() AS poll, poll_lease_until - now() AS lease, poll_strikes AS strikes,"
        " paused_until - now() AS paused, failures, list_order FROM credential"
    )
    sessions = await connection.fetch(
        "SELECT application_name, state, wait_event, now() - state_change AS since, query"
        " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return [
        *(f"{row[0]}: {row[1]}, next in {row[2]}" for row in rows),
        *(f"credential: {dict(row)}" for row in taken),
        *(f"connection: {dict(row)}" for row in sessions),
    ]
