"""What a run is asked to do."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECTIONS = (
    *("accept", "drain", "latency", "idle", "delivery", "isolation", "burst", "history"),
    *("pages", "scale"),
)
FIRST_BURST = "burst300"
DRAINS = {"drainOne": 1, "drainTen": 10}  # with so many tenants
BACKLOG, SWEEPS = "backlog", "sweeps"
SCENARIOS = (FIRST_BURST, "burst5000", "burst10000", *DRAINS, BACKLOG, SWEEPS)
_QUICK_SHARE = 20


@dataclass(frozen=True, slots=True)
class Options:
    """Which sections, and how much of each; `rate` 0 is half of what the drain reaches."""

    sections: tuple[str, ...]
    rounds: int
    jobs: int
    rate: float
    accept_seconds: float
    warm_up_seconds: float
    latency_seconds: float
    idle_seconds: float
    deliveries: int
    paced_seconds: float
    noisy_jobs: int
    isolation_seconds: float
    page_samples: int
    scenarios: tuple[str, ...]
    bursts: int
    quick: bool
    json: Path | None

    def share_of(self, count: int) -> int:
        """So many, or few of them for a look."""
        return max(count // _QUICK_SHARE, 10) if self.quick else count


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; ends the process when it is wrong."""
    parser = argparse.ArgumentParser("python -m tests.bench", description="Measure the gateway.")
    parser.add_argument(
        "--only", type=_sections, default=SECTIONS, help=f"sections, of {','.join(SECTIONS)}"
    )
    parser.add_argument("--quick", action="store_true", help="a look, not a measurement")
    parser.add_argument(
        "--rounds", type=_count, help="rounds of what is measured in turns (3, quick: 1)"
    )
    parser.add_argument("--jobs", type=_count, help="jobs to drain (5000, quick: 500)")
    parser.add_argument("--deliveries", type=_count, help="webhooks at once (5000, quick: 500)")
    parser.add_argument(
        "--scenarios", type=_scenarios, default=SCENARIOS, help=f"of burst: {','.join(SCENARIOS)}"
    )
    parser.add_argument("--rate", type=float, default=0.0, help="jobs per second for latency")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    given = parser.parse_args(arguments)
    quick = given.quick
    return Options(
        sections=tuple(given.only),
        rounds=given.rounds or (1 if quick else 3),
        jobs=given.jobs or (500 if quick else 5000),
        rate=given.rate,
        accept_seconds=1.0 if quick else 3.0,
        warm_up_seconds=1.0 if quick else 4.0,
        latency_seconds=3.0 if quick else 20.0,
        idle_seconds=3.0 if quick else 15.0,
        deliveries=given.deliveries or (500 if quick else 5000),
        paced_seconds=2.0 if quick else 10.0,
        noisy_jobs=1000 if quick else 100_000,
        isolation_seconds=5.0 if quick else 30.0,
        page_samples=20 if quick else 200,
        scenarios=tuple(given.scenarios),
        bursts=given.rounds or 1,
        quick=quick,
        json=given.json,
    )


def _sections(text: str) -> tuple[str, ...]:
    return _some_of(SECTIONS, text)


def _scenarios(text: str) -> tuple[str, ...]:
    return _some_of(SCENARIOS, text)


def _some_of(known: Sequence[str], text: str) -> tuple[str, ...]:
    named = text.split(",")
    if unknown := set(named) - set(known):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return tuple(name for name in known if name in named)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)
