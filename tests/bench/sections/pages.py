"""Every page of the console, over HTTP from a real `gateway serve`, upon a long history."""

import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from gateway.console import assets
from gateway.console.cookies import SESSION
from gateway.core.text.cursor import encode_cursor
from gateway.core.uuid7 import first_id
from gateway.embedded import run_tool
from tests.bench.harness.gateways import make_gateway
from tests.bench.harness.parts import Running, Servers, cpu_seconds, start_outside
from tests.bench.options import Options
from tests.bench.sections.history_data import DAYS, LARGEST, ROWS
from tests.bench.sections.pages_data import Examples, fill_pages

_WARM_UP = 3
_CPU_SAMPLES = 10
# What a page is of: nobody, every tenant, or the largest one.
_ALL = "all tenants"
# A file that somebody keeps, and no page that somebody waits for.
_FILE = "CSV"


async def measure(servers: Servers, options: Options) -> dict[str, Any]:
    """Milliseconds from the request to the last byte of each page, and the sizes of what pages load."""
    async with start_outside(servers.folder) as outside:
        gateway = await make_gateway("pages", servers, outside)
        began = time.perf_counter()
        examples = await fill_pages(servers.postgres.url_of("pages"))
        filled = time.perf_counter() - began
        command = ("-m", "gateway", "key", "create", "--operator", "--name", "x", "--json")
        made = await run_tool(sys.executable, *command, env=gateway.env)
        key = json.loads(made)["accessKey"]
        load = os.getloadavg()[0]
        async with gateway.api() as api:
            samples = max(options.page_samples // 4, 10)
            pages = await measure_pages(api, servers.postgres.pid, key, examples, samples)
    return {
        "rows": ROWS,
        "fillSeconds": round(filled, 1),
        "loadBefore": round(load, 2),
        "loadAfter": round(os.getloadavg()[0], 2),
        "pages": pages,
        "slowest": {
            share: max(
                row[share]
                for rows in pages.values()
                for name, row in rows.items()
                if _FILE not in name
            )
            for share in ("p50Ms", "p95Ms", "p99Ms")
        },
        "assets": {kind: _gzipped_kb(f".{kind}") for kind in ("js", "css")},
    }


async def measure_pages(
    api: Running, postgres: int, key: str, examples: Examples, samples: int
) -> dict[str, dict[str, Any]]:
    """The times of each page, and the CPU of the API and of Postgres for it.

    For the times pages take turns, so that a slow moment of the machine meets all of them.
    """
    asked = {_ALL: paths_of_all(), LARGEST: paths_of_largest(examples)}
    times = {(who, name): list[float]() for who, paths in asked.items() for name in paths}
    sizes: dict[tuple[str, str], int] = {}
    async with aiohttp.ClientSession(api.url, cookie_jar=aiohttp.DummyCookieJar()) as client:
        cookie = await _sign_in(client, key)
        for sample in range(_WARM_UP + samples):
            for (who, name), took in times.items():
                began = time.perf_counter()
                sizes[who, name] = await _ask(client, cookie, asked[who][name])
                if sample >= _WARM_UP:
                    took.append((time.perf_counter() - began) * 1000)
        cpu = {
            (who, name): await _cpu(client, cookie, asked[who][name], (api.pid, postgres))
            for who, name in times
        }
    found: dict[str, dict[str, Any]] = {who: {} for who in asked}
    for (who, name), took in times.items():
        more = {"cpuMs": cpu[who, name], "bytes": sizes[who, name]}
        found[who][name] = {**_shares(sorted(took)), **more}
    return found


async def _cpu(client: aiohttp.ClientSession, cookie: str, path: str, pids: Sequence[int]) -> float:
    """Milliseconds of CPU for one page: what it takes where nobody else uses the machine."""
    before = sum(map(cpu_seconds, pids))
    for _ in range(_CPU_SAMPLES):
        await _ask(client, cookie, path)
    return round((sum(map(cpu_seconds, pids)) - before) * 1000 / _CPU_SAMPLES, 1)


async def _sign_in(client: aiohttp.ClientSession, key: str) -> str:
    """The cookie of a new session, which this client would keep to itself: it is for TLS only."""
    form = {"data": {"key": key}, "allow_redirects": False}
    async with client.post("/console/sign-in", **form) as answer:
        cookie = answer.cookies[SESSION]
    return f"{cookie.key}={cookie.value}"


async def _ask(client: aiohttp.ClientSession, cookie: str, path: str) -> int:
    """The bytes of a page; raises RuntimeError unless it is a page."""
    url = URL(f"/console{path}", encoded=True)
    async with client.get(url, headers={"Cookie": cookie}, allow_redirects=False) as answer:
        body = await answer.read()
    if answer.status not in (200, 303):
        raise RuntimeError(f"/console{path} was answered with {answer.status}")
    return len(body)


def _shares(ordered: list[float]) -> dict[str, float]:
    return {
        name: round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1)
        for name, share in (("p50Ms", 0.5), ("p95Ms", 0.95), ("p99Ms", 0.99))
    }


def paths_of_all() -> dict[str, str]:
    """Pages of the gateway, and lists of all tenants."""
    now = datetime.now(UTC)
    last_month = (now.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    month = f"/usage?month={last_month}"
    return {
        "now": "",
        "now, 24 h": "/?window=24h",
        "now, 7 d": "/?window=7d",
        "tenants": "/tenants",
        "tenants, page 20": "/tenants?cursor=tenant-0949",
        "tenants, by name": "/tenants?text=777",
        "queues": "/queues",
        "system": "/system",
        "account": "/account",
        "usage": "/usage",
        "usage, a month": month,
        "usage, a workflow": f"{month}&workflow=music-ai/workflow-3",
        "usage, CSV by day": f"/usage.csv?month={last_month}&by=day",
        "usage, CSV by tenant": f"/usage.csv?month={last_month}&by=tenant",
        "search, a tenant": "/search?q=tenant-01",
        "search, nothing": "/search?q=nothing-has-this-name",
        "event types": "/events",
        "feed": "/feed",
        "feed, a type": "/feed?type=job.failed",
        "saved views": "/jobs/views",
        "columns of the list of jobs": "/jobs/columns",
        "signature checker": "/signature",
        "sign in": "/sign-in",
        "activity, an action": "/activity?action=tenant.deleted",
        "activity, an actor": "/activity?actor=key%201",
        **_lists(""),
    }


def paths_of_largest(examples: Examples) -> dict[str, str]:
    """Pages of one thing, and lists of the largest tenant."""
    now = datetime.now(UTC)
    last_month = (now.replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    since = quote((now - timedelta(days=1)).isoformat())
    job, endpoint = f"/jobs/{examples.job}", f"/endpoints/{examples.endpoint}"
    return {
        "job": job,
        **{f"job, {tab}": f"{job}?tab={tab}" for tab in ("input", "error", "webhooks", "raw")},
        "job, as a file": f"{job}/data/raw",
        "job, support bundle": f"{job}/support-bundle",
        "tenant": f"/tenants/{LARGEST}",
        "delivery": f"/deliveries/{examples.delivery}",
        "dead letter": f"/deliveries/{examples.dead_letter}",
        "signature of a delivery": f"/signature?delivery={examples.delivery}",
        "endpoint": endpoint,
        "endpoint, edit": f"{endpoint}/edit",
        "endpoint, count of a day": f"{endpoint}/send?since={since}",
        "deliveries of an endpoint": f"/deliveries?endpoint={examples.endpoint}",
        "deliveries of a job": f"/deliveries?job={examples.job}",
        "dead letters, count": f"/dead-letters/send?tenant={LARGEST}&outcome=connect",
        "bulk operation": f"/bulk/{examples.operation}",
        "act on jobs, count": f"/jobs/act?act=retry&tenant={LARGEST}&errorCode=UPSTREAM_LOST",
        "endpoint, new": f"/endpoints/new?tenant={LARGEST}",
        "feed": f"/feed?tenant={LARGEST}",
        "event": f"/feed/{examples.event}",
        "usage": f"/usage?tenant={LARGEST}&month={last_month}",
        "search, a job": f"/search?q={examples.job}",
        "search, an upstream id": f"/search?q={examples.upstream_id}",
        **_lists(LARGEST),
    }


def _lists(tenant: str) -> dict[str, str]:
    """Lists with the usual filters, of one tenant or of all."""
    long_ago = datetime.now(UTC) - timedelta(days=DAYS * 0.6)
    week = {
        "createdAfter": long_ago.isoformat(),
        "createdBefore": (long_ago + timedelta(days=7)).isoformat(),
    }
    deep = encode_cursor(first_id(datetime.now(UTC) - timedelta(days=DAYS * 0.95)))
    jobs: dict[str, dict[str, str]] = {
        "jobs": {},
        "jobs, at 95 %": {"cursor": deep},
        **{f"jobs, {span}": {"span": span} for span in ("hour", "night", "today", "week")},
        "jobs, failed": {"status": "FAILED"},
        "jobs, failed last night": {"status": "FAILED", "span": "night"},
        "jobs, queued": {"status": "QUEUED"},
        "jobs, a workflow": {"workflow": "music-ai/workflow-5"},
        "jobs, an error code": {"errorCode": "UPSTREAM_LOST"},
        "jobs, a batch": {"batchName": "release-7"},
        "jobs, a name": {"name": "Track 500"},
        "jobs, a label": {"label": "customer=c-10"},
        "jobs, a common label": {"label": "source=web", "status": "FAILED"},
        "jobs, nothing": {"errorCode": "NOTHING"},
        "jobs, a week long ago": week,
    }
    deliveries: dict[str, dict[str, str]] = {
        "deliveries": {},
        "deliveries, at 95 %": {"cursor": deep},
        **{
            f"deliveries, {state}": {"status": state}
            for state in ("exhausted", "parked", "pending", "delivered")
        },
        "deliveries, an outcome": {"outcome": "http_4xx"},
        "deliveries, a status": {"httpStatus": "503"},
        "deliveries, an event": {"event": "job.failed"},
        "deliveries, last night": {"span": "night"},
        "deliveries, exhausted last night": {"status": "exhausted", "span": "night"},
        "deliveries, a week long ago": week,
    }
    others: dict[str, dict[str, str]] = {
        "endpoints": {},
        **{f"endpoints, {word}": {"health": word} for word in ("failing", "disabled", "well")},
        "endpoints, a URL": {"url": "hooks-7777."},
        "endpoints, no such URL": {"url": "nothing"},
        "dead letters": {},
        "bulk": {},
        "bulk, running": {"state": "running"},
        "activity": {},
        "activity, last night": {"span": "night"},
    }
    counts: dict[str, dict[str, str]] = {
        "counts of jobs": {},
        "counts of jobs, failed": {"status": "FAILED"},
        "counts of jobs, a label": {"label": "source=web"},
    }
    places = {
        "jobs": jobs,
        "jobs/new": {"new jobs": {}},
        "jobs/counts": counts,
        "deliveries": deliveries,
    }
    found = {
        name: ("/" + place, query) for place, all_ in places.items() for name, query in all_.items()
    }
    found |= {
        name: ("/" + name.partition(",")[0].replace(" ", "-"), query)
        for name, query in others.items()
    }
    of = {"tenant": tenant} if tenant else {}
    return {name: f"{path}?{urlencode({**of, **query})}" for name, (path, query) in found.items()}


def _gzipped_kb(ending: str) -> float:
    """The size of the files of a kind as they are sent, in kB; 0.0 if they are not built."""
    found = assets.load()
    files = {} if found is None else found.files
    return round(
        sum(len(one.gzipped) for name, one in files.items() if name.endswith(ending)) / 1000, 1
    )
