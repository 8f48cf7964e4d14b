"""The same load with more processes: what a job costs then. It comes at once, as fast as 64 callers can."""

from typing import Any

from tests.bench.harness.gateways import TENANTS
from tests.bench.harness.parts import Servers
from tests.bench.options import Options
from tests.bench.sections.rush import Rush, rush_gateway

_JOBS = 5_000
# API processes and workers.
_PROCESSES = ((1, 1), (2, 1), (4, 1), (1, 2), (1, 4))


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """A row for each number of processes, and under `failures` what was lost."""
    found: dict[str, Any] = {}
    failures: list[str] = []
    for turn, (apis, workers) in enumerate(_PROCESSES):
        rush = Rush(
            "scale",
            options.share_of(_JOBS),
            workers=_names("worker", workers),
            apis=_names("api", apis),
            tenants=TENANTS,
            turn=turn,
        )
        result = await rush_gateway(servers, rush)
        failures += result.losses
        cpu = result.figures.pop("cpuMsPerJob")
        found[f"{apis} API, {workers} workers"] = {
            **result.figures,
            "cpuMsPerJob": {kind: _sum(cpu, kind) for kind in ("api", "worker", "postgres")},
        }
    return {**found, "failures": failures}


def _names(kind: str, count: int) -> tuple[str, ...]:
    return (kind, *(f"{kind}{number}" for number in range(2, count + 1)))


def _sum(cpu: dict[str, float], kind: str) -> float:
    return round(sum(used for name, used in cpu.items() if name.startswith(kind)), 3)
