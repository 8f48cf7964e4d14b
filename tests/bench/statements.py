"""What each statement of the engine costs as jobs wait, are in flight, and webhooks are owed.

`python -m tests.bench.statements` fills a database with 100, 10,000 and 100,000 of each for one tenant
and explains every statement with ANALYZE: milliseconds and pages touched, medians of five.
"""

import asyncio
import json
import shutil
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

from typing_extensions import override
from uuid_utils.compat import uuid7

from gateway.core.schedule.polling import Pace
from gateway.store import processes
from gateway.store.database import AnyRow, Database, Tx, open_database
from gateway.store.statement import Query, Statement
from gateway.store.webhooks import deliveries, endpoints
from gateway.store.work import bulk_operations, jobs, lost_claims, polls, queues, submits, sweeps
from gateway.store.work.polls import JobPosition
from tests.bench.harness.parts import Servers, start_servers

SIZES = (100, 10_000, 100_000)
_ROUNDS = 5
_LEASE = 26.0
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "
_STORE = (
    bulk_operations,
    lost_claims,
    deliveries,
    endpoints,
    jobs,
    polls,
    processes,
    queues,
    submits,
    sweeps,
)

_TENANT = "INSERT INTO tenant (id, slug, name, metadata) VALUES ($1, 'busy', 'busy', '{}')"
_CREDENTIAL = """
INSERT INTO credential (id, tenant_id, version, base_url, sealed, poll_at)
VALUES ($2, $1, 1, 'http://127.0.0.1', '\\x00', now())"""
_ENDPOINT = """
INSERT INTO endpoint (id, tenant_id, url, description, events)
VALUES ($2, $1, 'http://127.0.0.1/hook', '', '{}')"""
_JOBS = """
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at, credential_id,
  upstream_id, submitted_at, sent_at, created_at, next_at)
SELECT gen_random_uuid(), $1, $4, 'n', 'w', '{}', '{}', now() + interval '1 day', $2,
  CASE WHEN $4 <> 'accepted' THEN gen_random_uuid()::text END, now() - n * interval '1 ms',
  now() - n * interval '1 ms', now() - n * interval '1 ms', now()
FROM generate_series(1, $3::int) AS n"""
_OWED = """
WITH made AS (INSERT INTO event (id, tenant_id, type, body)
  SELECT gen_random_uuid(), $1, 'job.succeeded', repeat('x', 1000)
  FROM generate_series(1, $3::int) RETURNING id)
INSERT INTO delivery (id, tenant_id, event_id, endpoint_id, lane, type, next_at)
SELECT gen_random_uuid(), $1, id, $2, $2, 'job.succeeded',
  now() + CASE WHEN random() < 0.5 THEN -random() ELSE 3600 * random() END * interval '1 second'
FROM made"""


class _Explained(Tx):
    """Explains each statement before it runs it, and takes back what the explaining did."""

    def __init__(self, driver: Any, found: dict[str, list[tuple[float, int]]]) -> None:
        super().__init__(driver)
        self._driver = driver
        self._found = found

    @override
    async def rows(self, sql: str, *arguments: object) -> Sequence[AnyRow]:
        await self._explain(sql, arguments)
        return await super().rows(sql, *arguments)

    @override
    async def row(self, sql: str, *arguments: object) -> AnyRow | None:
        await self._explain(sql, arguments)
        return await super().row(sql, *arguments)

    @override
    async def run(self, sql: str, *arguments: object) -> int:
        await self._explain(sql, arguments)
        return await super().run(sql, *arguments)

    async def _explain(self, sql: str, arguments: Sequence[object]) -> None:
        await self._driver.execute("SAVEPOINT explained")
        (row,) = await self._driver.fetch(_EXPLAIN + sql, *arguments)
        await self._driver.execute("ROLLBACK TO explained")
        (plan,) = json.loads(row[0])
        pages = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        self._found[_name_of(sql)].append((plan["Execution Time"], pages))


def _name_of(sql: str) -> str:
    for module in _STORE:
        for name, declared in vars(module).items():
            statement = declared.statement if isinstance(declared, Query) else declared
            if isinstance(statement, Statement) and statement.sql == sql:
                return f"{_short(module)}.{name.strip('_').lower()}"
    return sql.strip()[:30]


def _short(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


async def _engine(tx: Tx, tenant: UUID, credential: UUID) -> None:
    """Every statement that the engine runs again and again, once."""
    steps: Sequence[Callable[[], Awaitable[object]]] = (
        lambda: jobs.queued(tx, [tenant]),
        lambda: submits.has_suspects(tx, 2),
        lambda: submits.claim(
            tx, 100, in_flight=10**6, lease=_LEASE, breaker=5, suspicious=2, token=uuid7()
        ),
        lambda: submits.claim_doubtful(tx, 100, lease=_LEASE, breaker=5, token=uuid7()),
        lambda: polls.next_due(tx),
        lambda: polls.claim(tx, 50, lease=_LEASE, breaker=5, token=uuid7()),
        lambda: polls.in_flight(tx, credential, tenant, Pace(), 5),
        lambda: polls.overdue(tx, credential, JobPosition("w"), 1.0, 400),
        lambda: polls.walk(tx, credential, JobPosition(), 1000),
        lambda: polls.match(tx, credential, [str(uuid7()) for _ in range(100)]),
        lambda: deliveries.has_suspects(tx, 2),
        lambda: deliveries.hold_capped(tx),
        lambda: deliveries.claim(
            tx, 100, ahead=80, free=100, lease=_LEASE, suspicious=2, token=uuid7(), taken=()
        ),
        lambda: sweeps.late(tx, 3.0, 10**6, 8.0),
        lambda: sweeps.remember(tx),
        lambda: sweeps.put_away(tx),
        lambda: sweeps.expired(tx, 500),
        lambda: queues.states(tx),
        lambda: queues.lines(tx, breaker=5, in_flight=10**6, window=10, lease=26),
        lambda: processes.last_rounds(tx),
        lambda: processes.seen(tx),
        lambda: bulk_operations.is_due(tx),
        lambda: endpoints.failing(tx, ("x",)),
    )
    for step in steps:
        await step()


async def _measure(servers: Servers, size: int) -> dict[str, list[tuple[float, int]]]:
    url = await servers.database(f"statements{size}", migrated=True)
    database = open_database(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool=2, name="x"
    )
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    try:
        tenant, credential = await _fill(database, size)
        for _ in range(_ROUNDS):
            async with database.begin() as tx:
                await tx.rows("SELECT 1")
                explained = _Explained(tx._connection, found)  # pyright: ignore[reportPrivateUsage]
                await _engine(explained, tenant, credential)
                await tx.rows("ROLLBACK")
    finally:
        await database.close()
    return found


async def _fill(database: Database, size: int) -> tuple[UUID, UUID]:
    tenant, credential, endpoint = uuid7(), uuid7(), uuid7()
    async with database.single() as tx:
        await tx.rows("SET statement_timeout = 0")
        await tx.run(_TENANT, tenant)
        await tx.run(_CREDENTIAL, tenant, credential)
        await tx.run(_ENDPOINT, tenant, endpoint)
        for state in ("accepted", "submitted"):
            await tx.run(_JOBS, tenant, credential, size, state)
        await tx.run(_OWED, tenant, endpoint, size)
        await tx.rows("ANALYZE")
    return tenant, credential


async def _measure_all(folder: Path) -> dict[int, dict[str, list[tuple[float, int]]]]:
    async with start_servers(folder) as servers:
        return {size: await _measure(servers, size) for size in SIZES}


def main() -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    folder.chmod(0o711)  # Postgres may run as another user
    try:
        found = asyncio.run(_measure_all(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("| statement | " + " | ".join(f"{size:,}" for size in SIZES) + " |")
    print("|---|" + "---|" * len(SIZES))
    for name in found[SIZES[0]]:
        cells = [_cell(found[size][name]) for size in SIZES]
        print(f"| `{name}` | " + " | ".join(cells) + " |")


def _cell(runs: Sequence[tuple[float, int]]) -> str:
    milliseconds = statistics.median(run[0] for run in runs)
    pages = statistics.median(run[1] for run in runs)
    return f"{milliseconds:.2f} ms, {pages:,.0f}"


if __name__ == "__main__":
    main()
