"""Faults inside a process: a wrong clock, odd host names, poisoned work, scarce resources.

The `faults` of an order choose them, before the process starts to run:

- `skew`: seconds that its wall clock is ahead of the others.
- `version`: the version that it says it has.
- `names`: for each host name the lists of addresses that its lookups return in turn.
- `nofile`: how many files it may have open; `memory`: bytes that it may use beyond its start.
- `stuck`: seconds after which the watchdog ends a worker with a blocked event loop, instead of 30.
- `sweep`: whole seconds between sweeps, instead of 5; `slow_claims`: seconds between the answer to
  a claim of jobs to submit and its comparison with the beacon.
- `poison`: whether jobs named `poison KIND`, results with `{"poison": KIND}` and receivers whose
  URL ends in `/poison-KIND` do what KIND says to the process; a result may also be `unstorable`.
"""

import asyncio
import os
import re
import resource
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from typing_extensions import override

from gateway import runtime, worker
from gateway.adapters.clock import SystemClock
from gateway.adapters.musicai.client import MusicAi
from gateway.adapters.webhooks.sender import HttpSender
from gateway.core.webhooks.signed_request import Reply, SendFault, Webhook
from gateway.ports import Absent, Access, Refused, Submission, Submitted, Trouble, UpstreamJob
from gateway.store.work import submits

_PIECE = 16 * 1024 * 1024


def inject(faults: Mapping[str, Any]) -> None:
    """Inject these faults into this process."""
    for kind, what in faults.items():
        _KINDS[kind](what)


# --- clock, names, means -------------------------------------------------------------------------


def _skew(seconds: float) -> None:
    class SkewedClock(SystemClock):
        @override
        def now(self) -> datetime:
            return super().now() + timedelta(seconds=seconds)

    runtime.SystemClock = SkewedClock


def _call_itself(version: str) -> None:
    runtime.__version__ = version


def _name(answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
    asked: Counter[str] = Counter()

    async def lookup(host: str, port: int) -> Sequence[str]:
        turns = answers.get(host)
        if not turns:
            raise OSError(f"no such name: {host}")
        asked[host] += 1
        return turns[(asked[host] - 1) % len(turns)]

    runtime.HttpSender = partial(HttpSender, lookup=lookup)


def _limit_files(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def _limit_memory(room: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _give_up_after(seconds: float) -> None:
    setattr(worker, "_STUCK_SECONDS", seconds)  # noqa: B010 - it is private to the worker


def _sweep_each(seconds: int) -> None:
    setattr(worker, "_SWEEP_SECONDS", seconds)  # noqa: B010 - it is private to the worker


def _slow_claims(seconds: float) -> None:
    claim = submits.claim

    async def slow(*args: Any, **kwargs: Any) -> Any:
        jobs = await claim(*args, **kwargs)
        await asyncio.sleep(seconds)
        return jobs

    submits.claim = slow


# --- poison --------------------------------------------------------------------------------------


class PoisonError(Exception):
    """The defect that a poisoned row meets."""


def _raise() -> NoReturn:
    raise PoisonError("poison")


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


def _loop() -> NoReturn:
    while True:
        pass


def _take_memory() -> NoReturn:
    taken: list[bytearray] = []
    while True:
        taken.append(bytearray(_PIECE))


def _be_killed() -> None:
    """As the kernel does to what takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


_EFFECTS: dict[str, Callable[[], object]] = {
    "raise": _raise,
    "recursion": _recurse,
    "loop": _loop,
    "memory": _take_memory,
    "killed": _be_killed,
}
POISONS = tuple(_EFFECTS)


def _swallow(kind: str) -> None:
    if effect := _EFFECTS.get(kind):
        effect()


class _PoisonedJob:
    """A report that cannot be read."""

    def __init__(self, job: UpstreamJob, kind: str) -> None:
        self._job = job
        self._kind = kind

    @property
    @override
    def __class__(self) -> type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A report to all who ask what it is."""
        return UpstreamJob

    def __getattr__(self, name: str) -> Any:
        if name == "status":
            _swallow(self._kind)
        return getattr(self._job, name)


def _taint(job: UpstreamJob) -> Any:
    found = re.search(r'"poison": ?"(\w+)"', job.result or "")
    if found is None:
        return job
    # Postgres takes no such text for JSON: as if it had got past whoever reads the answers.
    if found[1] == "unstorable":
        return replace(job, result="{")
    return _PoisonedJob(job, found[1])


class _PoisonedUpstream(MusicAi):
    @override
    async def submit(self, access: Access, submission: Submission) -> Submitted | Refused | Trouble:
        _swallow(submission.name.removeprefix("poison "))
        return await super().submit(access, submission)

    @override
    async def fetch(self, access: Access, upstream_id: str) -> UpstreamJob | Absent | Trouble:
        found = await super().fetch(access, upstream_id)
        return _taint(found) if isinstance(found, UpstreamJob) else found

    @override
    async def page(
        self, access: Access, *, statuses: Sequence[str], page: int, size: int
    ) -> list[UpstreamJob] | Trouble:
        found = await super().page(access, statuses=statuses, page=page, size=size)
        return [_taint(job) for job in found] if isinstance(found, list) else found


class _PoisonedSender(HttpSender):
    @override
    async def send(self, webhook: Webhook, within: float | None = None) -> Reply | SendFault:
        _swallow(webhook.url.rpartition("/poison-")[2])
        return await super().send(webhook, within)


def _poison(_: object) -> None:
    runtime.MusicAi = _PoisonedUpstream
    runtime.HttpSender = _PoisonedSender


_KINDS: dict[str, Callable[[Any], None]] = {
    "skew": _skew,
    "version": _call_itself,
    "names": _name,
    "nofile": _limit_files,
    "memory": _limit_memory,
    "stuck": _give_up_after,
    "sweep": _sweep_each,
    "slow_claims": _slow_claims,
    "poison": _poison,
}
