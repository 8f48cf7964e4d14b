"""`python -m tests.bench`: every figure of one run, as a table and as JSON."""

import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.embedded import PartFailedError
from tests.bench.figures import judge, table
from tests.bench.harness.parts import ROOT, Servers, start_servers
from tests.bench.options import Options, read_options
from tests.bench.sections import (
    accept,
    burst,
    delivery,
    drain,
    history,
    idle,
    isolation,
    latency,
    pages,
    scale,
)

# Half of the drain to reach, where no drain was measured.
_RATE = 250.0


_SECTIONS = {
    "accept": accept,
    "drain": drain,
    "idle": idle,
    "delivery": delivery,
    "isolation": isolation,
    "burst": burst,
    "history": history,
    "pages": pages,
    "scale": scale,
}


async def _measure(options: Options, folder: Path, report: dict[str, Any]) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with start_servers(folder) as servers:
        for name in options.sections:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            try:
                report[name] = await _section(name, servers, options, report)
                report["failures"] += report[name].pop("failures", [])
            except (PartFailedError, RuntimeError) as error:  # the others are still worth measuring
                report["failures"].append(f"{name}: {error}")


async def _section(
    name: str, servers: Servers, options: Options, report: dict[str, Any]
) -> dict[str, Any]:
    if name == "latency":
        return await latency.measure(servers, options, options.rate or _half(report) or _RATE)
    return await _SECTIONS[name].measure(servers, options)


def _half(report: dict[str, Any]) -> float:
    return report["drain"]["jobsPerSecond"] / 2 if "drain" in report else 0.0


def _circumstances() -> dict[str, Any]:
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "loadAverage": round(os.getloadavg()[0], 2),
        "failures": [],
    }


def _write(report: dict[str, Any], options: Options) -> Path:
    stamp = report["at"].replace(":", "").replace("-", "")[:15]
    file = ROOT / "bench-results" / f"{stamp}.json"
    file.parent.mkdir(exist_ok=True)
    for target in filter(None, (file, options.json)):
        target.write_text(json.dumps(report, indent=1) + "\n")
    return file


def main() -> None:
    """Run; ends with 1 when a section failed, and with 130 when it was interrupted."""
    options = read_options()
    folder = Path(tempfile.mkdtemp(prefix="gateway-bench-"))
    folder.chmod(0o711)  # Postgres may run as another user
    report = _circumstances()
    try:
        asyncio.run(_measure(options, folder, report))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report["figures"] = judge(report)
    print(table(report))
    print(f"\nwritten to {_write(report, options).relative_to(ROOT)}")
    if report["failures"]:
        sys.exit("\n".join(report["failures"]))


if __name__ == "__main__":
    main()
