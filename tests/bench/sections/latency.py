"""What the gateway adds to a job's own time at a load that leaves it room."""

import statistics
from collections.abc import Sequence
from typing import Any

from tests.bench.harness.gateways import body, make_gateway
from tests.bench.harness.load import Load
from tests.bench.harness.parts import Servers, send, start_outside
from tests.bench.options import Options

_RUN_SECONDS = 2.0
_PATIENCE_SECONDS = 30.0


async def measure(servers: Servers, options: Options, rate: float) -> dict[str, Any]:
    """Accept `rate` jobs per second, whatever becomes of them; API and one worker run.

    Jobs of the first seconds, while the worker learns how long jobs take, are not counted.
    """
    async with start_outside(servers.folder) as outside:
        gateway = await make_gateway("latency", servers, outside)
        async with gateway.api() as api, gateway.worker():
            await gateway.seed(api)
            load = Load(
                port=api.port,
                path="/v1/job",
                keys=gateway.keys,
                body=body(_RUN_SECONDS),
                rate=rate,
                seconds=options.warm_up_seconds + options.latency_seconds,
                keeps_answers=True,
            )
            outcome = await send(load)
            await outside.heard_of(outcome.count, _PATIENCE_SECONDS)
        submitted, completed = await outside.submitted(), await outside.completed()
        arrivals = await outside.arrivals()
    start = min(due for _, due, _ in outcome.answers) + options.warm_up_seconds
    counted = [one for one in outcome.answers if one[1] >= start and one[0] in arrivals]
    return {
        "ratePerSecond": round(rate, 1),
        "jobs": len(counted),
        "lost": outcome.count - len(arrivals),
        "acceptSeconds": spread([answered - due for _, due, answered in counted]),
        "acceptToSubmitSeconds": spread([submitted[job] - at for job, _, at in counted]),
        "addedSeconds": spread([arrivals[job] - completed[job] for job, _, _ in counted]),
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and greatest; of nothing, zeros."""
    if len(values) < 2:  # quantiles need two
        values = [*values, *values] or [0.0, 0.0]
    parts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(parts[49], 4), "p99": round(parts[98], 4), "most": round(max(values), 4)}
