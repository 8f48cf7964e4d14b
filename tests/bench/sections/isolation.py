"""What nine quiet tenants notice of a tenth that has far too much work and a receiver that hangs."""

import asyncio
import statistics
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from tests.bench.harness.gateways import TENANTS, WORKFLOW, Gateway, body, make_gateway
from tests.bench.harness.load import Load
from tests.bench.harness.owed import Connection, Endpoint, connected, forget, hanging, owe
from tests.bench.harness.parts import Meter, Outside, Running, Servers, send, start_outside
from tests.bench.options import Options

QUIET, NOISY = "quiet", "noisy"
_RATE = 18.0  # two jobs a second of each quiet tenant
_RUN_SECONDS = 2.0
_OWED = 10_000
# The noisy tenant's jobs are under way and its receiver hangs when the others begin.
_SETTLE_SECONDS = 5.0
_PATIENCE_SECONDS = 60.0

_QUEUE = f"""
INSERT INTO job (id, tenant_id, state, name, workflow, params, metadata, deadline_at)
SELECT (lpad(to_hex(floor(EXTRACT(epoch FROM now()) * 1000)::bigint), 12, '0') || '7'
  || substr(r, 1, 3) || '8' || substr(r, 4, 15))::uuid, $1, 'accepted', 'Track ' || n, '{WORKFLOW}',
  json_build_object('simulate', json_build_object('queueSeconds', 0, 'runSeconds', $3::float8)),
  '{{"source": "flood"}}', now() + interval '1 day'
FROM (SELECT n, md5(random()::text || n) AS r FROM generate_series(1, $2::int) AS n) AS s"""

_ENDS = """
SELECT e.job_id::text, EXTRACT(epoch FROM e.created_at)::float8 FROM event e
WHERE e.tenant_id <> $1 AND e.type = 'job.succeeded'"""


@dataclass(slots=True)
class _Contest:
    """A gateway, its noisy tenant, and what the quiet ones saw in each turn."""

    gateway: Gateway
    outside: Outside
    api: Running
    connection: Connection
    noisy: Endpoint
    options: Options
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {QUIET: [], NOISY: []})

    async def turn(self, name: str) -> None:
        """Measure the quiet tenants, alone or beside the noisy one."""
        await forget(self.connection)
        if name == NOISY:
            await self._make_noise()
        async with self.gateway.worker() as worker:
            await asyncio.sleep(_SETTLE_SECONDS)
            meter = Meter({"worker": worker.pid})
            load = self._load()
            outcome = await send(load)
            used = meter.milliseconds(load.seconds * 10)["worker"]
            begun = {job: at for job, _, at in outcome.answers}
            ended, arrived = await self._seen(begun)
            left = await self._left()
        self.rows[name].append(
            {
                "jobs": outcome.count,
                "acceptToEndSeconds": _spread([ended[job] - at for job, at in begun.items()]),
                "eventToWebhookSeconds": _spread([arrived[job] - ended[job] for job in begun]),
                "workerCpuPercent": used,
                "left": left,
            }
        )

    async def _make_noise(self) -> None:
        jobs = self.options.noisy_jobs
        await self.connection.execute(_QUEUE, self.noisy.tenant_id, jobs, _RUN_SECONDS, timeout=300)
        await owe(self.connection, [self.noisy], min(_OWED, jobs))
        await self.connection.execute("ANALYZE job, delivery, event")

    def _load(self) -> Load:
        return Load(
            port=self.api.port,
            path="/v1/job",
            keys=self.gateway.keys[1:],
            body=body(_RUN_SECONDS),
            rate=_RATE,
            seconds=self.options.isolation_seconds,
            keeps_answers=True,
        )

    async def _seen(self, jobs: Iterable[str]) -> tuple[dict[str, float], dict[str, float]]:
        """When each job's event was stored, and when its webhook came."""
        waiting, arrived = set(jobs), {}
        for _ in range(round(_PATIENCE_SECONDS)):
            arrived = await self.outside.arrivals()
            if waiting <= arrived.keys():
                ends = await self.connection.fetch(_ENDS, self.noisy.tenant_id)
                return dict(ends), arrived
            await asyncio.sleep(1.0)
        raise RuntimeError(
            f"{len(waiting - arrived.keys())} webhooks of quiet tenants did not come within"
            f" {_PATIENCE_SECONDS:.0f} s. The worker's complaints:\n{self.gateway.complaints('worker')}"
        )

    async def _left(self) -> dict[str, Any]:
        """What the noisy tenant still waits for."""
        jobs = "SELECT count(*) FROM job WHERE tenant_id = $1 AND state = 'accepted'"
        owed = "SELECT count(*) FROM delivery WHERE tenant_id = $1 AND state = 'pending'"
        return {
            "jobs": await self.connection.fetchval(jobs, self.noisy.tenant_id),
            "deliveries": await self.connection.fetchval(owed, self.noisy.tenant_id),
        }


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Medians over the turns, and their ratios, noisy to quiet."""
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(start_outside(servers.folder))
        (hangs,) = await stack.enter_async_context(hanging(1))
        gateway = await make_gateway("isolation", servers, outside)
        api = await stack.enter_async_context(gateway.api())
        await gateway.seed(api)
        url = gateway.env["GATEWAY_DATABASE_URL"]
        connection = await stack.enter_async_context(connected(url))
        noisy = await connection.fetchrow(
            "UPDATE endpoint SET url = $1 WHERE url LIKE '%/tenant-0' RETURNING tenant_id, id",
            hangs,
        )
        assert noisy is not None
        contest = _Contest(gateway, outside, api, connection, Endpoint(*noisy), options)
        for _ in range(options.rounds):
            await contest.turn(QUIET)
            await contest.turn(NOISY)
    return _summary(contest.rows)


def _spread(values: Sequence[float]) -> dict[str, float]:
    parts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(parts[49], 4), "p99": round(parts[98], 4)}


def _summary(rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    figures = ("acceptToEndSeconds", "eventToWebhookSeconds")

    def middle(name: str, figure: str, part: str) -> float:
        return statistics.median(turn[figure][part] for turn in rows[name])

    def ratio(figure: str, part: str) -> float:
        pairs = zip(rows[NOISY], rows[QUIET], strict=True)
        return round(statistics.median(a[figure][part] / b[figure][part] for a, b in pairs), 3)

    parts = ("p50", "p99")
    return {
        "quietTenants": TENANTS - 1,
        "ratePerSecond": _RATE,
        "medians": {
            name: {figure: {p: middle(name, figure, p) for p in parts} for figure in figures}
            for name in rows
        },
        "noisyToQuiet": {figure: {p: ratio(figure, p) for p in parts} for figure in figures},
        "rounds": rows,
    }
