"""Pages of a long history, and all of it at once: of the largest tenant and of all together."""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import httpx
import psutil

from gateway.core.model import STATUS_STATES
from gateway.core.uuid7 import first_id
from gateway.embedded import run_tool
from gateway.store.database import Database, Tx, open_database
from gateway.store.job_search import lists
from gateway.store.job_search.filter import JobFilter
from gateway.store.job_search.lists import Page
from tests.bench.harness.gateways import make_gateway
from tests.bench.harness.parts import Running, Servers, cpu_seconds, start_outside
from tests.bench.options import Options
from tests.bench.sections import history_data, history_usage
from tests.bench.sections.history_data import DAYS, LARGEST, ROWS

SIZE = 100
_ALL = "all tenants"
_PIECE = 1 << 20
_WARM_UP = 10
FIRST, DEEP = "first page", "page at 95 %"
# What this machine lets any question take: a transaction with a statement that reads nothing.
NOTHING = "nothing"
# Filters together have no figure of their own to reach.
_NO_GOAL = frozenset(
    {
        NOTHING,
        "workflow and status",
        "metadata and status",
        "metadata, two of them",
        "error code and workflow",
        "a week completed, workflow and status",
    }
)


_Ask = Callable[[Tx], Awaitable[Page]]


@dataclass(frozen=True, slots=True)
class Question:
    """What a page is asked for; `age` is how far back it begins, of all there is."""

    filter: Mapping[str, Any]
    age: float = 0.0


def _questions(now: datetime) -> dict[str, Question]:
    long_ago = now - timedelta(days=DAYS * 0.6)
    created = {"created_after": long_ago, "created_before": long_ago + timedelta(days=7)}
    completed = {f"completed{name[7:]}": at for name, at in created.items()}
    filters: dict[str, Mapping[str, Any]] = {
        **{f"status {name}": {"states": states} for name, states in STATUS_STATES.items()},
        "workflow, many": {"workflows": ("music-ai/workflow-0",)},
        "workflow, none": {"workflows": ("nothing",)},
        "batch": {"batch_names": ("release-7",)},
        "name, one": {"names": ("Track 500",)},
        "error code": {"error_codes": ("TIMEOUT",)},
        "error code, none": {"error_codes": ("NOTHING",)},
        "metadata, a third": {"metadata": (("source", ("web",)),)},
        "metadata, 1 in 5,000": {"metadata": (("customer", ("c-10",)),)},
        "metadata, one": {"metadata": (("order", ("o-500",)),)},
        "metadata, none": {"metadata": (("order", ("nothing",)),)},
        "a week created": created,
        "a week completed": completed,
        "workflow and status": {"workflows": ("music-ai/workflow-3",), "states": ("failed",)},
        "metadata and status": {"metadata": (("source", ("web",)),), "states": ("failed",)},
        "metadata, two of them": {"metadata": (("source", ("web",)), ("customer", ("c-10",)))},
        "error code and workflow": {
            "error_codes": ("TIMEOUT",),
            "workflows": ("music-ai/workflow-3",),
        },
        "a week completed, workflow and status": {
            **completed,
            "workflows": ("music-ai/workflow-3",),
            "states": STATUS_STATES["FAILED"],
        },
    }
    return {
        FIRST: Question({}),
        DEEP: Question({}, 0.95),
        **{name: Question(filter_) for name, filter_ in filters.items()},
    }


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Milliseconds of pages as the API asks for them, usage, and the export of the largest tenant."""
    async with start_outside(servers.folder) as outside:
        gateway = await make_gateway("history", servers, outside)
        url = servers.postgres.url_of("history")
        began = time.perf_counter()
        largest = await history_data.fill(url)
        filled = time.perf_counter() - began
        database = open_database(url, pool=4, name="bench")
        try:
            pages = {
                LARGEST: await _pages(servers, database, (largest,), options.page_samples),
                _ALL: await _pages(servers, database, None, options.page_samples),
            }
        finally:
            await database.close()
        async with gateway.api() as api:
            command = ("-m", "gateway", "key", "create", "--operator", "--name", "x", "--json")
            made = await run_tool(sys.executable, *command, env=gateway.env)
            key = await _key(api, json.loads(made)["accessKey"])
            usage = await history_usage.measure(api, key, url, largest, options.page_samples)
            export = {kind: await _download(api, key, kind) for kind in ("ndjson", "csv")}
    return {
        "rows": ROWS,
        "fillSeconds": round(filled, 1),
        "pages": pages,
        "deepToFirst": round(pages[LARGEST][DEEP]["p50Ms"] / pages[LARGEST][FIRST]["p50Ms"], 3),
        "slowestP99Ms": {
            who: max(row["p99Ms"] for name, row in rows.items() if name not in _NO_GOAL)
            for who, rows in pages.items()
        },
        "usage": usage,
        "export": export,
    }


async def _pages(
    servers: Servers, database: Database, tenants: tuple[UUID, ...] | None, samples: int
) -> dict[str, Any]:
    now = datetime.now(UTC)

    async def nothing(tx: Tx) -> Page:
        await tx.rows("SELECT 1")
        return lists.NOTHING

    asked: dict[str, _Ask] = {NOTHING: nothing}
    for name, question in _questions(now).items():
        wanted = JobFilter(tenants, **question.filter)
        before = first_id(now - timedelta(days=DAYS * question.age)) if question.age else None
        asked[name] = partial(lists.page, wanted=wanted, form="json", before=before, size=SIZE)
    return {
        name: await _again_and_again(servers, database, tenants, samples, ask)
        for name, ask in asked.items()
    }


async def _again_and_again(
    servers: Servers,
    database: Database,
    tenants: tuple[UUID, ...] | None,
    samples: int,
    ask: _Ask,
) -> dict[str, float]:
    """One question in the transaction that the API asks in."""
    times: list[float] = []
    found, used = 0, 0.0
    for sample in range(_WARM_UP + samples):
        if sample == _WARM_UP:
            used = _cpu(servers)
        began = time.perf_counter()
        async with database.of(*tenants) if tenants else database.begin() as tx:
            page = await ask(tx)
        times.append((time.perf_counter() - began) * 1000)
        found = page.jobs
    ordered = sorted(times[_WARM_UP:])
    return {
        "p50Ms": round(ordered[samples // 2], 2),
        "p99Ms": round(ordered[min(int(samples * 0.99), samples - 1)], 2),
        "cpuMs": round((_cpu(servers) - used) * 1000 / samples, 2),
        "jobs": found,
    }


def _cpu(servers: Servers) -> float:
    """Of Postgres and of this process, which reads the rows."""
    return cpu_seconds(servers.postgres.pid) + time.process_time()


async def _key(api: Running, operator: str) -> str:
    """An access key of the largest tenant."""
    async with httpx.AsyncClient(base_url=api.url, timeout=60) as client:
        path = f"/admin/v1/tenant/{LARGEST}/key"
        made = await client.post(path, headers={"Authorization": operator}, json={"name": "x"})
    return made.raise_for_status().json()["accessKey"]


async def _download(api: Running, key: str, kind: str) -> dict[str, Any]:
    """All jobs of the largest tenant; read by hand, so that the reader costs next to nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, limit=_PIECE)
    ask = f"GET /v1/job?format={kind} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n\r\n"
    began, used, process = time.perf_counter(), cpu_seconds(api.pid), psutil.Process(api.pid)
    writer.write(ask.encode())
    lines, size, tail, memory = 0, 0, b"", list[int]()
    while not tail.endswith(b"\r\n0\r\n\r\n"):
        piece = await reader.read(_PIECE)
        if not piece:
            raise RuntimeError(f"the {kind} export broke off after {size} bytes")
        lines, size, tail = lines + piece.count(b"\n"), size + len(piece), (tail + piece)[-7:]
        memory.append(process.memory_info().rss)
    seconds = time.perf_counter() - began
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    jobs = round(ROWS * 0.3)
    early = max(memory[: max(len(memory) // 5, 1)])
    return {
        "jobs": jobs,
        "jobsPerSecond": round(jobs / seconds),
        "cpuUsPerJob": round((cpu_seconds(api.pid) - used) * 1e6 / jobs, 1),
        "megabytes": round(size / 1e6, 1),
        "memoryMb": round(max(memory) / 1e6, 1),
        "memoryGrowthMb": round((max(memory) - early) / 1e6, 1),
    }
