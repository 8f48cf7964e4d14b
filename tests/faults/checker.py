"""Checks the promises after the faults are over; each breach is a sentence."""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import product
from typing import Any
from uuid import UUID

import httpx

from tests.faults.harness.drain import connect
from tests.faults.harness.history import History
from tests.faults.harness.waiting import until
from tests.faults.harness.world import World

_AT_ONCE = 20
_AWAY = 503
_ANSWER_SECONDS = 20.0
_TELLABLE = timedelta(seconds=15)
_TERMINAL = ("succeeded", "failed", "cancelled", "expired")
_NEVER_SENT = ("cancelled", "expired")
_ENDS = ("job.succeeded", "job.failed")
_STATUS = {"succeeded": "SUCCEEDED"}
_TABLES = {
    "tenant": "SELECT id, slug FROM tenant",
    "job": "SELECT id, tenant_id, state, workflow, upstream_id, deleted_at, idempotency_key, error, "
    "callback_url, created_at, retry_of FROM job",
    "event": "SELECT id, tenant_id, job_id, type, created_at, "
    "CASE WHEN type = 'endpoint.disabled' THEN body END AS body FROM event",
    "delivery": "SELECT id, tenant_id, event_id, job_id, endpoint_id, state, last_error, "
    "attempts FROM delivery",
    "attempt": "SELECT delivery_id, tenant_id, number, request_headers, status FROM attempt",
    "endpoint": "SELECT id, tenant_id, deleted_at, disabled_at, created_at FROM endpoint",
    # Workers of an older version add to the older table.
    "usage": "SELECT tenant_id, status, sum(jobs)::int AS jobs FROM (SELECT tenant_id, status, jobs "
    "FROM usage_hourly UNION ALL SELECT tenant_id, status, jobs FROM usage_hour) AS u "
    "GROUP BY 1, 2 HAVING sum(jobs) > 0",
}

Rows = list[Mapping[str, Any]]


@dataclass(slots=True)
class Findings:
    """Everything that was written down about a world."""

    history: History
    tables: dict[str, Rows]
    submissions: Counter[str]
    upstream: set[str]
    received: list[dict[str, Any]]
    listed: dict[str, set[str]]

    @property
    def slugs(self) -> dict[UUID, str]:
        """The slugs of tenants by their id."""
        return {row["id"]: row["slug"] for row in self.tables["tenant"]}


async def check(history: History) -> list[str]:
    """All breaches of the promises in a world that has come to rest."""
    findings = await _find(history)
    rules = (
        _answered,
        _accepted,
        _retried,
        _submitted,
        _events,
        _deliveries,
        _webhooks,
        _foreign,
        _usage,
    )
    return [breach for rule in rules for breach in rule(findings)]


async def _find(history: History) -> Findings:
    world = history.world
    connection = await connect(world)
    try:
        tables = {name: await connection.fetch(sql) for name, sql in _TABLES.items()}
    finally:
        await connection.close()
    submissions = await _count_submissions(world, [str(job["id"]) for job in tables["job"]])
    upstream = {one["marker"] for one in await world.rig.observe("/jobs?limit=1000000")}
    own = tuple(f"/hook/{tenant.slug}" for tenant in world.tenants)
    received = [one for one in await world.rig.received() if one["path"].startswith(own)]
    listed = {t.slug: await _listed(world, t.key) for t in world.tenants}
    return Findings(history, tables, submissions, upstream, received, listed)


async def _count_submissions(world: World, markers: Sequence[str]) -> Counter[str]:
    counted: Counter[str] = Counter()

    async def count(marker: str) -> None:
        answer = await world.rig.observe(f"/stats?marker={marker}")
        counted[marker] = answer["submissions"]

    for first in range(0, len(markers), _AT_ONCE):
        await asyncio.gather(*map(count, markers[first : first + _AT_ONCE]))
    return counted


async def _listed(world: World, key: str) -> set[str]:
    async def ask(path: str) -> httpx.Response | None:
        answer = await world.ask("GET", path, key)
        # A connection that a fault has broken may be found out only when it is used again.
        return None if answer.status_code == _AWAY else answer.raise_for_status()

    paths = "/v1/job?size=1000", "/v1/endpoint"
    answers = [await until(partial(ask, path), _ANSWER_SECONDS) for path in paths]
    return {one["id"] for answer in answers if answer for one in answer.json()}


def _answered(findings: Findings) -> Iterator[str]:
    """No trouble that we know of is answered 500."""
    yield from findings.history.surprises


def _accepted(findings: Findings) -> Iterator[str]:
    """The accepted set is the terminal set."""
    jobs = {row["id"]: row for row in findings.tables["job"]}
    promised = {entry.job_id for entry in findings.history.entries if entry.job_id}
    keys = {(e.tenant.slug, e.idempotency_key) for e in findings.history.entries}
    for lost in promised - jobs.keys():
        yield f"job {lost} was accepted and is lost"
    for id_, row in jobs.items():
        if row["state"] not in _TERMINAL:
            yield f"job {id_} is {row['state']}, not at an end"
        asked = findings.slugs[row["tenant_id"]], row["idempotency_key"]
        if id_ not in promised and asked not in keys and row["retry_of"] is None:
            yield f"job {id_} was never asked for"
    for entry in findings.history.entries:
        row = jobs.get(entry.job_id) if entry.job_id else None
        if row and entry.deleted != (row["deleted_at"] is not None):
            yield f"job {entry.job_id}: deleted is {entry.deleted} for its client, not for us"


def _retried(findings: Findings) -> Iterator[str]:
    """A bulk operation runs each job again once, of who asked for that."""
    parents = Counter(row["retry_of"] for row in findings.tables["job"] if row["retry_of"])
    owner = {row["id"]: findings.slugs[row["tenant_id"]] for row in findings.tables["job"]}
    for parent, times in parents.items():
        if times > 1:
            yield f"job {parent} was run again {times} times"
        if owner.get(parent) not in findings.history.retrying:
            yield f"job {parent} was run again, and nobody asked for that"


def _submitted(findings: Findings) -> Iterator[str]:
    """Each job went upstream once, unless it ended before or was refused."""
    for row in findings.tables["job"]:
        times = findings.submissions[str(row["id"])]
        if times > 1:
            yield f"job {row['id']} was submitted {times} times"
        unsent = row["state"] in _NEVER_SENT or (row["state"] == "failed" and row["error"])
        if row["deleted_at"] and str(row["id"]) in findings.upstream:
            yield f"job {row['id']} is deleted, and still upstream"
        if times == 0 and not (unsent and row["upstream_id"] is None):
            yield f"job {row['id']} is {row['state']} and was never submitted"


def _events(findings: Findings) -> Iterator[str]:
    """One terminal event for each job, one job.deleted for each deleted one."""
    kinds: defaultdict[UUID, Counter[str]] = defaultdict(Counter)
    for event in findings.tables["event"]:
        if event["job_id"]:
            kinds[event["job_id"]][event["type"]] += 1
    for row in findings.tables["job"]:
        seen = kinds[row["id"]]
        ends = sum(seen[kind] for kind in _ENDS)
        wanted = 0 if row["state"] == "cancelled" else 1
        if ends != wanted or seen["job.deleted"] != int(row["deleted_at"] is not None):
            yield f"job {row['id']} is {row['state']} with the events {dict(seen)}"
        if seen["job.started"] > 1:
            yield f"job {row['id']} started {seen['job.started']} times"


def _deliveries(findings: Findings) -> Iterator[str]:
    """Each event is owed once to each endpoint, and came to an end with a reason."""
    owed = Counter((d["event_id"], d["endpoint_id"]) for d in findings.tables["delivery"])
    for pair, times in owed.items():
        if times > 1:
            yield f"event {pair[0]} is owed {times} times to {pair[1]}"
    live = [one for one in findings.tables["endpoint"] if one["deleted_at"] is None]
    first = min((job["created_at"] for job in findings.tables["job"]), default=None)
    for event, endpoint in product(findings.tables["event"], live):
        if _is_too_close(event, endpoint, first):
            continue
        if _is_owed(event, endpoint) != ((event["id"], endpoint["id"]) in owed):
            yield f"event {event['id']} ({event['type']}): wrongly owed, or not, to {endpoint['id']}"
    for one in findings.tables["delivery"]:
        ended = one["state"] in ("delivered", "exhausted", "parked")
        if not ended or (one["state"] != "delivered" and not one["last_error"]):
            yield f"delivery {one['id']} is {one['state']} because of {one['last_error']}"


def _is_too_close(
    event: Mapping[str, Any], endpoint: Mapping[str, Any], first: datetime | None
) -> bool:
    """Whether an endpoint was made under load, after the event or too soon before to tell."""
    is_late = first is not None and endpoint["created_at"] > first
    return is_late and event["created_at"] < endpoint["created_at"] + _TELLABLE


def _is_owed(event: Mapping[str, Any], endpoint: Mapping[str, Any]) -> bool:
    # That an endpoint was disabled is told to the tenant's other ones.
    if event["type"] == "endpoint.disabled":
        about = json.loads(event["body"])["data"]["endpoint"]["id"]
        if about == str(endpoint["id"]):
            return False
    return endpoint["tenant_id"] == event["tenant_id"]


def _webhooks(findings: Findings) -> Iterator[str]:
    """What says delivered was received, with one id on every attempt, and believed."""
    events = {row["id"]: row for row in findings.tables["event"]}
    deliveries = {row["id"]: row for row in findings.tables["delivery"]}
    got = {one["webhookId"] for one in findings.received if one["status"] == 200}
    for one in deliveries.values():
        if one["state"] == "delivered" and str(one["event_id"]) not in got:
            yield f"delivery {one['id']} says delivered, and nobody received it"
    for attempt in findings.tables["attempt"]:
        event_id = str(deliveries[attempt["delivery_id"]]["event_id"])
        if json.loads(attempt["request_headers"])["webhook-id"] != event_id:
            yield f"delivery {attempt['delivery_id']} changed its webhook id"
    for one in findings.received:
        event = events.get(UUID(one["webhookId"]))
        if event is None or event["type"] != one["type"] or one["reason"]:
            yield f"webhook {one['webhookId']} ({one['type']}) is not ours: {one['reason']}"


def _foreign(findings: Findings) -> Iterator[str]:
    """No id of one tenant in anything that another one gets."""
    owner = {
        str(row["id"]): findings.slugs[row["tenant_id"]]
        for table in ("job", "event", "endpoint")
        for row in findings.tables[table]
    }
    for one in findings.received:
        slug = one["path"].removeprefix("/hook/").partition("/")[0]
        for id_ in (one["webhookId"], one["jobId"]):
            if id_ is not None and owner.get(id_) != slug:
                yield f"{slug} received {id_}, which is {owner.get(id_)}'s"
    for slug, ids in findings.listed.items():
        for id_ in ids:
            if owner.get(id_) != slug:
                yield f"{slug} can list {id_}, which is {owner.get(id_)}'s"
    for table in ("event", "delivery", "attempt"):
        yield from _misplaced(findings, table)


def _misplaced(findings: Findings, table: str) -> Iterator[str]:
    """Rows whose tenant is not the tenant of what they belong to."""
    parents = {"event": ("job", "job_id"), "delivery": ("event", "event_id")}
    parent, column = parents.get(table, ("delivery", "delivery_id"))
    tenants = {row["id"]: row["tenant_id"] for row in findings.tables[parent]}
    for row in findings.tables[table]:
        if row[column] is not None and tenants.get(row[column]) != row["tenant_id"]:
            yield f"{table} of {row[column]} is not its tenant's"


def _usage(findings: Findings) -> Iterator[str]:
    """Usage counts each ended job once."""
    ended = Counter(
        (row["tenant_id"], _STATUS.get(row["state"], "FAILED")) for row in findings.tables["job"]
    )
    counted = Counter({(r["tenant_id"], r["status"]): r["jobs"] for r in findings.tables["usage"]})
    for key in ended.keys() | counted.keys():
        if ended[key] != counted[key]:
            yield f"usage of {findings.slugs[key[0]]} counts {counted[key]} {key[1]}, not {ended[key]}"
