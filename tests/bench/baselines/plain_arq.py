"""The baseline of a burst: a plain arq task per job, as one writes it in an afternoon.

Litestar inserts a row and enqueues one task; `python -m tests.bench.baselines.plain_arq PORT`
runs the tasks and listens at the port as a sign of life. A task submits its job, sleeps between
looks at the status, fetches the job, stores its result and posts a signed webhook.

It lacks much: a row that was written but not enqueued is never found again; a task whose worker dies
starts anew after minutes and submits a second time; the first error of the upstream fails the job; a
webhook is tried once; there are no tenants, limits or keys.
"""

import asyncio
import hashlib
import hmac
import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import msgspec
import uvloop
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.worker import Worker, func
from litestar import Litestar, Request, post
from uuid_utils.compat import uuid7

DATABASE, REDIS, UPSTREAM, RECEIVER = (
    "PLAIN_DATABASE",
    "PLAIN_REDIS",
    "PLAIN_UPSTREAM",
    "PLAIN_HOOK",
)
_POOL = 10
_KEY = "sim-plain"
_SECRET = b"a secret that receiver and sender share"
# More than any burst has; arq reads its queue up to five times this.
_MOST_TASKS = 20_000
_POLL_DELAY = 0.25
# Seconds after the submit at which a task looks. Its author knows that jobs take five seconds: the
# third look comes soon after the end, so a job costs five calls. Then it looks every half second.
_LOOKS = (2.5, 4.5, 5.3)
_LOOK_AGAIN_SECONDS = 0.5
_ENDED = ("SUCCEEDED", "FAILED")
SCHEMA = """
CREATE TABLE job (
    id uuid PRIMARY KEY, state text NOT NULL DEFAULT 'accepted', name text NOT NULL,
    workflow text NOT NULL, params jsonb NOT NULL, metadata jsonb NOT NULL, upstream_id text,
    result jsonb, created_at timestamptz NOT NULL DEFAULT now(), ended_at timestamptz,
    delivered_at timestamptz
)
"""
_INSERT = "INSERT INTO job (id, name, workflow, params, metadata) VALUES ($1, $2, $3, $4, $5)"
_SUBMITTED = "UPDATE job SET state = 'submitted', upstream_id = $2 WHERE id = $1"
_ENDS = "UPDATE job SET state = $2, result = $3, ended_at = now() WHERE id = $1"
_DELIVERED = "UPDATE job SET delivered_at = now() WHERE id = $1"
STATES = "SELECT state, count(*) FROM job WHERE NOT id = ANY($1::uuid[]) GROUP BY state"


class _JobIn(msgspec.Struct):
    """The body of the gateway's own accept."""

    name: str
    workflow: str
    params: dict[str, Any]
    metadata: dict[str, Any]


@post("/v1/job", status_code=200)
async def accept(request: Request) -> dict[str, str]:
    """Commit one row and enqueue one task, then answer the id."""
    given = msgspec.json.decode(await request.body(), type=_JobIn)
    job, state = uuid7(), request.app.state
    texts = [msgspec.json.encode(value).decode() for value in (given.params, given.metadata)]
    await state.pool.execute(_INSERT, job, given.name, given.workflow, *texts)
    await state.queue.enqueue_job("run", str(job), msgspec.to_builtins(given))
    return {"id": str(job)}


def _database() -> Any:
    return asyncpg.create_pool(os.environ[DATABASE], min_size=_POOL, max_size=_POOL)


@asynccontextmanager
async def _connections(app: Litestar) -> AsyncGenerator[None]:
    queue: ArqRedis = await create_pool(RedisSettings.from_dsn(os.environ[REDIS]))
    async with _database() as pool:
        app.state.pool, app.state.queue = pool, queue
        yield
    await queue.aclose()


app = Litestar([accept], lifespan=[_connections], openapi_config=None, logging_config=None)


class _Runner:
    """What the tasks of one worker share."""

    def __init__(self, pool: Any, session: aiohttp.ClientSession) -> None:
        self._pool = pool
        self._session = session
        self._upstream = os.environ[UPSTREAM]
        self._receiver = os.environ[RECEIVER]

    async def run(self, ctx: dict[str, Any], job: str, given: dict[str, Any]) -> None:
        """One job, from its submit to its webhook."""
        metadata = {**given["metadata"], "gatewayJobId": job}
        upstream_id = (await self._call("POST", "/job", {**given, "metadata": metadata}))["id"]
        sent_at = time.monotonic()
        await self._pool.execute(_SUBMITTED, job, upstream_id)
        await self._ended(upstream_id, sent_at)
        found = await self._call("GET", f"/job/{upstream_id}")
        result = msgspec.json.encode(found.get("result")).decode()
        await self._pool.execute(_ENDS, job, found["status"].lower(), result)
        await self._post_webhook(job, given, found)
        await self._pool.execute(_DELIVERED, job)

    async def _ended(self, upstream_id: str, sent_at: float) -> None:
        looks = iter(_LOOKS)
        while True:
            look = next(looks, None)
            pause = _LOOK_AGAIN_SECONDS if look is None else sent_at + look - time.monotonic()
            await asyncio.sleep(max(pause, 0))
            answer = await self._call("GET", f"/job/{upstream_id}/status")
            if answer["status"] in _ENDED:
                return

    async def _call(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": _KEY, "Content-Type": "application/json"}
        url = self._upstream + path
        async with self._session.request(method, url, data=content, headers=headers) as answer:
            answer.raise_for_status()
            return msgspec.json.decode(await answer.read())

    async def _post_webhook(self, job: str, given: dict[str, Any], found: dict[str, Any]) -> None:
        data = {"id": job, "name": given["name"], "status": found["status"]}
        event = {"type": "job.ended", "data": {**data, "result": found.get("result")}}
        body, stamp = msgspec.json.encode(event), str(int(time.time()))
        signature = hmac.new(_SECRET, f"{job}.{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {"X-Timestamp": stamp, "X-Signature": signature}
        async with self._session.post(self._receiver, data=body, headers=headers) as answer:
            answer.raise_for_status()


async def _work(port: int) -> None:
    async with _database() as pool, aiohttp.ClientSession() as session:
        worker = Worker(
            [func(_Runner(pool, session).run, name="run")],
            redis_settings=RedisSettings.from_dsn(os.environ[REDIS]),
            max_jobs=_MOST_TASKS,
            poll_delay=_POLL_DELAY,
            keep_result=0,
            handle_signals=False,
            log_results=False,
        )
        async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", port):
            await worker.async_run()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(int(sys.argv[1])))
