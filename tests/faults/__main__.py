"""`python -m tests.faults`: long runs under faults drawn from a seed, with a check at the end.

Without more, the nemesis draws from all kinds of faults for so many minutes. With `--kills` or
`--flush-every` there is a load of so many jobs, and only these two happen to it.
"""

import argparse
import asyncio
import json
import random
import shlex
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.faults.checker import check
from tests.faults.drills.drill import query
from tests.faults.harness.drain import drain, pass_time
from tests.faults.harness.history import History
from tests.faults.harness.rig import start_rig
from tests.faults.harness.world import World, start_world
from tests.faults.kills import Storm, rage
from tests.faults.nemesis import Nemesis

_WORKERS = 2
_TENANTS = 3
_DRAIN_SECONDS = 240
_DELETED_SHARE = 0.05
_SHOWN = 50
# With fewer attempts, trouble that lasts for seconds would exhaust deliveries.
_PATIENT = ",".join(["1"] * 8 + ["5"] * 8)
_GAVE_UP = "SELECT id FROM job WHERE error->>'code' = 'GATEWAY_FAULT'"

Scenario = Callable[[History], Awaitable[dict[str, int]]]


async def _submit(history: History, chance: random.Random, rate: float, seconds: float) -> None:
    """Submit at random moments for so long, delete a few; returns when all calls are answered."""
    end = time.monotonic() + seconds
    async with asyncio.TaskGroup() as group:
        while time.monotonic() < end:
            tenant = chance.choice(history.world.tenants)
            run = chance.choice([0.0, 0.3, 1.0, 3.0])
            is_deleted = chance.random() < _DELETED_SHARE
            group.create_task(_one(history, tenant, run, is_deleted=is_deleted))
            await asyncio.sleep(chance.expovariate(rate))


async def _one(history: History, tenant: Any, run: float, *, is_deleted: bool) -> None:
    entry = await history.submit(tenant, run=run)
    if is_deleted:
        await history.delete(entry)


def _by_nemesis(seed: int, minutes: float, rate: float) -> Scenario:
    async def scenario(history: History) -> dict[str, int]:
        nemesis = Nemesis(history.world, _WORKERS, random.Random(f"faults:{seed}"))
        for _ in range(_WORKERS):
            await history.world.work()
        clients = random.Random(f"clients:{seed}")
        load = asyncio.create_task(_submit(history, clients, rate, minutes * 60))
        await nemesis.rage(minutes * 60)
        await load
        await pass_time(history.world)
        return nemesis.done

    return scenario


def _by_storm(seed: int, storm: Storm) -> Scenario:
    async def scenario(history: History) -> dict[str, int]:
        return await rage(history, storm, random.Random(f"kills:{seed}"))

    return scenario


async def run(scenario: Scenario) -> dict[str, Any]:
    """One run; what happened, with all breaches of the promises."""
    delays: dict[str, Any] = {"GATEWAY_DELIVERY_DELAYS": _PATIENT}
    async with (
        start_rig() as rig,
        start_world(rig, tenants=_TENANTS, links=True, **delays) as world,
    ):
        history = History(world)
        began = time.monotonic()
        done = await scenario(history)
        seconds = round(time.monotonic() - began, 1)
        sys.stderr.write(f"{len(history.entries)} jobs accepted in {seconds} s; waiting for rest\n")
        rest, breaches = await _rest(world)
        sys.stderr.write("checking\n")
        breaches += await check(history)
        breaches += [f"job {row['id']} was given up" for row in await query(world, _GAVE_UP)]
        if breaches:
            sys.stderr.write(world.complaints())
        return {
            "seconds": seconds,
            "faults": done,
            "jobs": len(history.entries),
            "calls": history.calls,
            "at rest after": rest,
            "breaches": len(breaches),
            "first breaches": breaches[:_SHOWN],
        }


async def _rest(world: World) -> tuple[float | None, list[str]]:
    try:
        return round(await drain(world, _DRAIN_SECONDS), 1), []
    except AssertionError as open_still:
        return None, [str(open_still)]


def _read() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, help="draws the faults; random if left out")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are injected")
    parser.add_argument("--rate", type=float, help="jobs a second: 8, with --jobs 50")
    parser.add_argument("--jobs", type=int, default=2000, help="how many jobs a storm lasts")
    parser.add_argument("--kills", type=int, default=0, help="SIGKILLs spread over the jobs")
    parser.add_argument("--flush-every", type=float, default=0.0, help="seconds between FLUSHALLs")
    return parser.parse_args()


def main() -> int:
    """Run as the command line says; 1 where a promise was broken."""
    given = _read()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    again = ["python", "-m", "tests.faults", f"--seed={seed}"]
    again += [one for one in sys.argv[1:] if not one.startswith("--seed")]
    if given.kills or given.flush_every:
        storm = Storm(given.jobs, given.rate or 50.0, given.kills, given.flush_every)
        scenario = _by_storm(seed, storm)
    else:
        scenario = _by_nemesis(seed, given.minutes, given.rate or 8.0)
    sys.stderr.write(f"seed {seed}\n")
    is_kept = False
    try:
        outcome = asyncio.run(run(scenario))
        sys.stdout.write(json.dumps({"seed": seed, **outcome}, indent=2) + "\n")
        is_kept = not outcome["breaches"]
    finally:
        if not is_kept:
            sys.stderr.write(f"failed; run it again: {shlex.join(again)}\n")
    return int(not is_kept)


if __name__ == "__main__":
    sys.exit(main())
