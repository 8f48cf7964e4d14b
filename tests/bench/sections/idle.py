"""What a gateway with nothing to do uses."""

import asyncio
from typing import Any

from tests.bench.harness.gateways import make_gateway
from tests.bench.harness.parts import Meter, Servers, start_outside
from tests.bench.options import Options

_SETTLE_SECONDS = 3.0


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Shares of one core, in per cent, of each part; the gateway's own are API and worker."""
    async with start_outside(servers.folder) as outside:
        gateway = await make_gateway("idle", servers, outside)
        async with gateway.api() as api, gateway.worker() as worker:
            await gateway.seed(api)
            await asyncio.sleep(_SETTLE_SECONDS)
            meter = Meter(
                {
                    "api": api.pid,
                    "worker": worker.pid,
                    "postgres": servers.postgres.pid,
                    "valkey": servers.valkey.pid,
                }
            )
            await asyncio.sleep(options.idle_seconds)
            used = meter.milliseconds(options.idle_seconds * 10)
    return {
        "seconds": options.idle_seconds,
        "cpuPercent": used,
        "gatewayCpuPercent": round(used["api"] + used["worker"], 3),
    }
