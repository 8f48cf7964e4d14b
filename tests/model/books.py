"""What the outside knows: who was promised what, and what the database says at one moment."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

Row = Mapping[str, Any]

TABLES = {
    "tenant": "SELECT id, slug FROM tenant",
    "job": "SELECT id, tenant_id, state, workflow, upstream_id, version, error, result::text,"
    " completed_at, deadline_at, deleted_at, upstream_delete_at, callback_url FROM job ORDER BY id",
    "event": "SELECT id, tenant_id, job_id, type, body FROM event ORDER BY id",
    "delivery": "SELECT id, tenant_id, event_id, job_id, endpoint_id, url, state, attempts,"
    " last_error FROM delivery ORDER BY id",
    "attempt": "SELECT delivery_id, number, tenant_id, url, request_headers FROM attempt",
    "endpoint": "SELECT id, tenant_id, url, events, deleted_at, disabled_at FROM endpoint",
    "usage_hourly": "SELECT tenant_id, workflow, status, sum(jobs)::int AS jobs FROM usage_hourly"
    " GROUP BY 1, 2, 3 HAVING sum(jobs) > 0",
    "usage_daily": "SELECT tenant_id, workflow, status, sum(jobs)::int AS jobs FROM usage_daily"
    " GROUP BY 1, 2, 3 HAVING sum(jobs) > 0",
    "note": "SELECT job_id, tenant_id FROM job_event",
}


@dataclass
class Asked:
    """A job that was asked for; `is_promised` once its caller was told that it is accepted."""

    slug: str
    key: str | None = None  # the idempotency key
    is_promised: bool = False
    was_deleted: bool = False
    # Set when a deletion was asked for, whatever came of it.
    may_be_deleted: bool = False


@dataclass
class Tenancy:
    """A tenant, as those who administer it know it."""

    slug: str
    id: UUID
    keys: list[str] = field(default_factory=list)


@dataclass
class Books:
    """All that was asked for and promised in a history."""

    tenants: list[Tenancy] = field(default_factory=list)
    asked: dict[UUID, Asked] = field(default_factory=dict)
    # Whether anything was held, cut off or killed: what the gateway may give a job up for.
    was_disturbed: bool = False


class Snapshot:
    """The rows of the database at one moment."""

    def __init__(self, ask: Callable[[str], Sequence[Row]]) -> None:
        self.rows: dict[str, Sequence[Row]] = {name: ask(sql) for name, sql in TABLES.items()}

    def by_id(self, table: str) -> dict[UUID, Row]:
        return {row["id"]: row for row in self.rows[table]}

    @cached_property
    def jobs(self) -> dict[UUID, Row]:
        return self.by_id("job")

    @cached_property
    def slugs(self) -> dict[UUID, str]:
        return {row["id"]: row["slug"] for row in self.rows["tenant"]}

    @cached_property
    def deliveries(self) -> dict[UUID, Row]:
        return self.by_id("delivery")

    @cached_property
    def events(self) -> dict[UUID, Row]:
        return self.by_id("event")

    @cached_property
    def owed(self) -> dict[UUID, list[Row]]:
        """Deliveries by event."""
        found: defaultdict[UUID, list[Row]] = defaultdict(list)
        for row in self.rows["delivery"]:
            found[row["event_id"]].append(row)
        return found


def code_of(job: Row) -> str:
    """The code of a failed job's error."""
    return json.loads(job["error"])["code"] if job["error"] else ""
