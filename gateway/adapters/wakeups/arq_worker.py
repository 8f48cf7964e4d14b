"""arq's worker, led by kicks and due times instead of a fixed delay; the only user of arq.

An arq job here only signals a session and ends at once. Wake-ups of a verb whose session runs
already are answered by that session and leave the queue in bulk, without arq's 17 commands each.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC
from typing import Any

import msgspec
from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from arq.typing import WorkerCoroutine
from arq.worker import Function, Worker, func
from typing_extensions import override

from gateway.adapters.redis.client import LOST, connect
from gateway.adapters.wakeups.redis_commands import (
    JOB_KEY,
    KICKS,
    QUEUE,
    Subscription,
    end,
    pipelined,
)
from gateway.adapters.wakeups.single_run import SingleRun
from gateway.ports import Clock

_LONGEST_WAIT = 1.0
# How long wake-ups of a running session may lie in the queue: their kick was signal enough.
_CLEANING_SECONDS = 0.25
_LEAST_WAIT = 0.001
_READ_LIMIT = 100
_NEXT_READ_SECONDS = 0.02
_JOB_SECONDS = 30
_HEALTH_SECONDS = 30
_MINUTE = 60


@asynccontextmanager
async def following(
    redis_url: str,
    clock: Clock,
    verbs: Mapping[str, SingleRun],
    *,
    sweep: SingleRun,
    sweep_seconds: int,
    health_key: str,
) -> AsyncGenerator["ArqWorker"]:
    """A worker that hears wake-ups while the block runs; raises one of LOST, also in the block."""
    redis = connect(redis_url, ArqRedis)
    redis.job_serializer = msgspec.msgpack.Encoder(enc_hook=repr).encode
    redis.job_deserializer = msgspec.msgpack.decode
    redis.default_queue_name = QUEUE
    seconds = set(range(0, _MINUTE, sweep_seconds))
    job = cron(_signalling(sweep), name=sweep.name, second=seconds, microsecond=0)
    try:
        async with Subscription(redis, KICKS) as kicks:
            follower = ArqWorker(redis, kicks, clock, verbs=verbs, sweep=job, health_key=health_key)
            try:
                yield follower
            finally:
                await follower.close()
    finally:
        await redis.aclose()


class ArqWorker(Worker):
    """Turns, each a look at the queue, and waits between them."""

    def __init__(
        self,
        redis: ArqRedis,
        kicks: Subscription,
        clock: Clock,
        *,
        verbs: Mapping[str, SingleRun],
        sweep: CronJob,
        health_key: str,
    ) -> None:
        super().__init__(
            [_function(session) for session in verbs.values()],
            queue_name=QUEUE,
            cron_jobs=[sweep],
            redis_pool=redis,
            handle_signals=False,
            job_timeout=_JOB_SECONDS,
            keep_result=0,
            health_check_interval=_HEALTH_SECONDS,
            health_check_key=health_key,
            job_serializer=redis.job_serializer,
            job_deserializer=redis.job_deserializer,
            timezone=UTC,
            log_results=False,
        )
        self._kicks = kicks
        self._clock = clock
        self._verbs = verbs
        self._next_at = 0.0

    async def turn(self) -> None:
        """Look at the head of the queue and start or signal what is due."""
        look = ("ZRANGE", QUEUE, 0, _READ_LIMIT - 1, "WITHSCORES")
        head = (await pipelined(self.pool, [look]))[0]
        due: dict[str, list[str]] = {}
        self._next_at = self._clock.monotonic() + _LONGEST_WAIT
        for name, score in zip(head[::2], head[1::2], strict=True):
            if not self._is_due(float(score)):
                break
            due.setdefault(name.decode().partition(":")[0], []).append(name.decode())
        if len(head) >= 2 * _READ_LIMIT:
            self._look_within(_NEXT_READ_SECONDS)
        await self._answer(due)
        if due or self.tasks:
            await self._poll_iteration()
        else:
            await self.heart_beat()

    async def wait(self) -> None:
        """Wait for a kick, for the next wake-up to fall due, or for a second."""
        while (rest := self._next_at - self._clock.monotonic()) > 0:
            kicks = await self._kicks.next(max(rest, _LEAST_WAIT))
            for kick in (kicks or "").split():
                self._heed(kick)

    @override
    async def close(self) -> None:
        """End the jobs under way; they are hints."""
        await end(self.tasks.values())
        with suppress(*LOST):
            await pipelined(self.pool, [("DEL", self.health_check_key)])

    async def _answer(self, due: dict[str, list[str]]) -> None:
        """Signal the sessions that run, or are called for more than once, and drop their wake-ups."""
        for verb in [verb for verb in due if verb in self._verbs]:
            session, names = self._verbs[verb], due[verb]
            if session.is_awake or len(names) > 1:
                session.signal()
                keys = [JOB_KEY + name for name in names]
                await pipelined(self.pool, [("ZREM", QUEUE, *names), ("DEL", *keys)])
                del due[verb]

    def _heed(self, kick: str) -> None:
        verb, _, due = kick.partition(":")
        if not self._is_due(float(due) if due.isdecimal() else 0.0):
            return
        session = self._verbs.get(verb)
        is_awake = session is not None and session.is_awake
        if session and is_awake:
            session.signal()
        self._look_within(_CLEANING_SECONDS if is_awake else 0.0)

    def _is_due(self, at_ms: float) -> bool:
        seconds = at_ms / 1000 - self._clock.now().timestamp()
        if seconds > 0:
            self._look_within(seconds)
        return seconds <= 0

    def _look_within(self, seconds: float) -> None:
        self._next_at = min(self._next_at, self._clock.monotonic() + seconds)


def _function(session: SingleRun) -> Function:
    return func(_signalling(session), name=session.name)


def _signalling(session: SingleRun) -> WorkerCoroutine:
    async def signal(ctx: dict[Any, Any]) -> None:
        del ctx
        session.signal()

    return signal
