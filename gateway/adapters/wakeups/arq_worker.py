"""arq's worker, driven by wake-up messages and due times instead of a fixed poll delay.

An arq job only signals a `SingleRun` and ends at once. If the handler of a verb is running already,
its queue entries are deleted in bulk, which saves the 17 Redis commands that arq needs for each.
Redis errors leave this module: `WorkerLoop` then opens a new worker. A crash leaves queue entries
that another worker reads, and in-progress keys that expire after 40 s.
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
    QUEUE,
    WAKE_CHANNEL,
    Subscription,
    cancel_all,
    pipelined,
)
from gateway.adapters.wakeups.single_run import SingleRun
from gateway.ports import Clock

_LONGEST_WAIT = 1.0
# How long entries of a running handler may stay in the queue: their message was signal enough.
_CLEANING_SECONDS = 0.25
_LEAST_WAIT = 0.001
_READ_LIMIT = 100
_NEXT_READ_SECONDS = 0.02
_JOB_SECONDS = 30
_HEALTH_SECONDS = 30
_MINUTE = 60


@asynccontextmanager
async def open_arq_worker(
    redis_url: str,
    clock: Clock,
    verbs: Mapping[str, SingleRun],
    *,
    sweep: SingleRun,
    sweep_seconds: int,
    health_key: str,
) -> AsyncGenerator["ArqWorker"]:
    """Open a worker that hears wake-ups while the block runs; raises one of LOST, also in the block."""
    redis = connect(redis_url, ArqRedis)
    redis.job_serializer = msgspec.msgpack.Encoder(enc_hook=repr).encode
    redis.job_deserializer = msgspec.msgpack.decode
    redis.default_queue_name = QUEUE
    seconds = set(range(0, _MINUTE, sweep_seconds))
    job = cron(_signalling(sweep), name=sweep.name, second=seconds, microsecond=0)
    try:
        async with Subscription(redis, WAKE_CHANNEL) as messages:
            worker = ArqWorker(
                redis, messages, clock, verbs=verbs, sweep=job, health_key=health_key
            )
            try:
                yield worker
            finally:
                await worker.close()
    finally:
        await redis.aclose()


class ArqWorker(Worker):
    """Alternates between `start_due` and `wait_until_due`; `WorkerLoop` calls them in turn.

    It uses `start_jobs`, `tasks` and `heart_beat` of arq's Worker, which arq's guide does not
    describe: tests/adapters/wakeups/test_arq_contract.py pins them.
    """

    def __init__(
        self,
        redis: ArqRedis,
        messages: Subscription,
        clock: Clock,
        *,
        verbs: Mapping[str, SingleRun],
        sweep: CronJob,
        health_key: str,
    ) -> None:
        super().__init__(
            [_function(run) for run in verbs.values()],
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
        self._redis = redis
        self._health_key = health_key
        self._messages = messages
        self._clock = clock
        self._verbs = verbs
        self._next_at = 0.0

    async def start_due(self) -> None:
        """Read the head of the queue, and signal the handlers or start the jobs that are due."""
        read = ("ZRANGE", QUEUE, 0, _READ_LIMIT - 1, "WITHSCORES")
        (head,) = await pipelined(self._redis, [read])
        due: dict[str, list[bytes]] = {}
        self._next_at = self._clock.monotonic() + _LONGEST_WAIT
        for job_id, score in zip(head[::2], head[1::2], strict=True):
            if not self._is_due(float(score)):
                break
            due.setdefault(job_id.decode().partition(":")[0], []).append(job_id)
        if len(head) >= 2 * _READ_LIMIT:
            self._look_within(_NEXT_READ_SECONDS)
        await self._signal_without_jobs(due)
        await self.start_jobs([job_id for ids in due.values() for job_id in ids])
        self._forget_ended_jobs()
        await self.heart_beat()

    async def wait_until_due(self) -> None:
        """Wait for a message, for the next queue entry to fall due, or for a second."""
        while (rest := self._next_at - self._clock.monotonic()) > 0:
            message = await self._messages.next(max(rest, _LEAST_WAIT))
            for wakeup in (message or "").split():
                self._hear(wakeup)

    @override
    async def close(self) -> None:
        """Cancel the jobs that run; they are only hints."""
        await cancel_all(self.tasks.values())
        with suppress(*LOST):
            await pipelined(self._redis, [("DEL", self._health_key)])

    async def _signal_without_jobs(self, due: dict[str, list[bytes]]) -> None:
        """Signal the handlers that run or have several entries, and delete those entries."""
        for verb in [verb for verb in due if verb in self._verbs]:
            run, ids = self._verbs[verb], due[verb]
            if run.is_running or len(ids) > 1:
                run.signal()
                keys = [JOB_KEY.encode() + job_id for job_id in ids]
                await pipelined(self._redis, [("ZREM", QUEUE, *ids), ("DEL", *keys)])
                del due[verb]

    def _forget_ended_jobs(self) -> None:
        """Drop the tasks of jobs that ended; raises what a job raised, such as a Redis error."""
        for job_id, task in list(self.tasks.items()):
            if task.done():
                del self.tasks[job_id]
                task.result()

    def _hear(self, wakeup: str) -> None:
        verb, _, due = wakeup.partition(":")
        if not self._is_due(float(due) if due.isdecimal() else 0.0):
            return
        run = self._verbs.get(verb)
        is_running = run is not None and run.is_running
        if run and is_running:
            run.signal()
        self._look_within(_CLEANING_SECONDS if is_running else 0.0)

    def _is_due(self, at_ms: float) -> bool:
        seconds = at_ms / 1000 - self._clock.now().timestamp()
        if seconds > 0:
            self._look_within(seconds)
        return seconds <= 0

    def _look_within(self, seconds: float) -> None:
        self._next_at = min(self._next_at, self._clock.monotonic() + seconds)


def _function(run: SingleRun) -> Function:
    return func(_signalling(run), name=run.name)


def _signalling(run: SingleRun) -> WorkerCoroutine:
    async def signal(ctx: dict[Any, Any]) -> None:
        del ctx
        run.signal()

    return signal
