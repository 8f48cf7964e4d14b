"""`python -m tests.faults --seed N --minutes M`: a long run under faults drawn from a seed."""

import argparse
import asyncio
import json
import random
import sys
import time
from typing import Any

from tests.faults.checker import check
from tests.faults.history import History
from tests.faults.nemesis import Nemesis
from tests.faults.rest import drain, pass_time
from tests.faults.rig import start_rig
from tests.faults.world import World, start_world

_WORKERS = 2
_TENANTS = 3
_DRAIN_SECONDS = 240
_DELETED_SHARE = 0.05
_SHOWN_LINES = 200


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


def _complaints(world: World) -> str:
    lines = (world.log("serve") + world.log("worker")).splitlines(keepends=True)
    return "".join([line for line in lines if '"level":"info"' not in line][-_SHOWN_LINES:])


async def run(seed: int, minutes: float, rate: float) -> dict[str, Any]:
    """One run; what happened, with all breaches of the promises."""
    async with start_rig() as rig, start_world(rig, tenants=_TENANTS, links=True) as world:
        # With fewer attempts, trouble that lasts for seconds would exhaust deliveries.
        world.env["GATEWAY_DELIVERY_DELAYS"] = ",".join(["1"] * 8 + ["5"] * 8)
        history = History(world)
        nemesis = Nemesis(world, _WORKERS, random.Random(f"faults:{seed}"))
        for _ in range(_WORKERS):
            await world.work()
        clients = random.Random(f"clients:{seed}")
        load = asyncio.create_task(_submit(history, clients, rate, minutes * 60))
        await nemesis.rage(minutes * 60)
        await load
        await pass_time(world)
        rest: float | None = None
        breaches: list[str] = []
        try:
            rest = round(await drain(world, _DRAIN_SECONDS), 1)
        except AssertionError as open_still:
            breaches.append(str(open_still))
        breaches += await check(history)
        if breaches:
            sys.stderr.write(_complaints(world))
        return {
            "seed": seed,
            "minutes": minutes,
            "faults": nemesis.done,
            "jobs": len(history.entries),
            "calls": history.calls,
            "at rest after": rest,
            "breaches": breaches,
        }


def main() -> int:
    """Run as the command line says; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=None, help="draws the faults; random if left out"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="how long faults are injected")
    parser.add_argument("--rate", type=float, default=8.0, help="jobs a second")
    given = parser.parse_args()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    sys.stderr.write(f"seed {seed}\n")
    outcome = asyncio.run(run(seed, given.minutes, given.rate))
    sys.stdout.write(json.dumps(outcome, indent=2) + "\n")
    if outcome["breaches"]:
        sys.stderr.write(
            f"failed: python -m tests.faults --seed {seed} --minutes {given.minutes}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
