"""Deliveries that are owed, made by Postgres itself, so that nothing but delivering is measured."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple
from uuid import UUID

import asyncpg
import httpx

from tests.bench.harness.parts import Running

BODY_BYTES = 1_000

_ID = """(lpad(to_hex(floor(EXTRACT(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7'
  || substr({r}, 1, 3) || '8' || substr({r}, 4, 15))::uuid"""

# The job of each has ended, so that its delivery is counted as any other.
_OWE = f"""
WITH made AS MATERIALIZED (
  SELECT {_ID.format(r="md5('j' || r)")} AS job, {_ID.format(r="md5('e' || r)")} AS event,
    {_ID.format(r="md5('d' || r)")} AS delivery, tenant, endpoint, n
  FROM (SELECT n, random()::text || n AS r FROM generate_series(0, $3::int - 1) AS n) AS s
  JOIN unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS e(tenant, endpoint, place)
    ON e.place = 1 + s.n % cardinality($1)
), jobs AS (
  INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, submitted_at,
    completed_at)
  SELECT job, tenant, 'succeeded', 'Track', 'music-ai/stems-vocals-accompaniment', '{{}}', '{{}}',
    now() + interval '1 day', now(), now() FROM made
), events AS (
  INSERT INTO event (id, tenant_id, job_id, type, body)
  SELECT event, tenant, job, 'job.succeeded', rpad('{{"type":"job.succeeded","timestamp":'
    '"2026-11-22T20:00:00.000Z","data":{{"id":"' || job || '","name":"', {BODY_BYTES - 3}, 'Track ')
    || '"}}}}' FROM made
)
INSERT INTO delivery (id, tenant_id, event_id, job_id, endpoint_id, lane)
SELECT delivery, tenant, event, job, endpoint, endpoint FROM made ORDER BY n
RETURNING job_id::text, EXTRACT(epoch FROM now())::float8"""


class Endpoint(NamedTuple):
    """An endpoint and whose it is."""

    tenant_id: UUID
    id: UUID


Connection = asyncpg.Connection


@asynccontextmanager
async def connected(url: str) -> AsyncGenerator[Connection]:
    """A connection of our own to the database of a gateway."""
    connection = await asyncpg.connect(url.replace("+asyncpg", ""), timeout=30)
    try:
        yield connection
    finally:
        await connection.close()


async def owe(
    connection: Connection, endpoints: Sequence[Endpoint], count: int
) -> dict[str, float]:
    """Owe events to endpoints in turns, due at once; the instant of each, by its job."""
    tenants, ids = [one.tenant_id for one in endpoints], [one.id for one in endpoints]
    return dict(await connection.fetch(_OWE, tenants, ids, count, timeout=120))


async def forget(connection: Connection) -> None:
    """Take all work away, and what the endpoints and credentials remember of it."""
    await connection.execute("TRUNCATE job, job_label, job_event, event, delivery, attempt")
    await connection.execute(
        "UPDATE endpoint SET failing_since = NULL, failures = 0,"
        " paused_until = NULL, disabled_at = NULL"
    )
    await connection.execute("UPDATE credential SET poll_at = NULL, poll_lease_until = NULL")


async def add_endpoints(api: Running, keys: Sequence[str], urls: Sequence[str]) -> None:
    """Make endpoints through the API, of the tenants in turns."""
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
        for number, url in enumerate(urls):
            headers = {"Authorization": keys[number % len(keys)]}
            answer = await client.post("/v1/endpoint", headers=headers, json={"url": url})
            if answer.status_code != 200:
                raise RuntimeError(f"{answer.status_code} {answer.text}")


async def endpoints_at(connection: Connection, urls: Sequence[str]) -> list[Endpoint]:
    """The endpoints at these URLs, oldest first."""
    found = "SELECT tenant_id, id FROM endpoint WHERE url = ANY($1) ORDER BY id"
    return [Endpoint(*row) for row in await connection.fetch(found, urls)]


@asynccontextmanager
async def hanging(count: int) -> AsyncGenerator[list[str]]:
    """Receivers that take whatever comes and never answer, each at a port of its own."""

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65_536):
                pass
        except OSError:
            pass
        finally:
            writer.close()

    async with AsyncExitStack() as stack:
        urls: list[str] = []
        for _ in range(count):
            server = await asyncio.start_server(hang, "127.0.0.1", 0)
            await stack.enter_async_context(server)
            urls.append("http://{}:{}/hangs".format(*server.sockets[0].getsockname()))
        yield urls
