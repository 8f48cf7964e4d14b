"""Rows of jobs for people: what a list shows of each, without input and result."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from gateway.core.text.cursor import PageCursor
from gateway.flows.deps import Deps
from gateway.flows.read.export import job_page
from gateway.store.job_search.csv_and_json_columns import END
from gateway.store.job_search.filter import JobFilter


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job of a list; long texts are cut. `metadata` has the values of the keys that were asked for."""

    id: UUID
    tenant: str
    name: str
    workflow: str
    state: str
    error_code: str | None
    error_message: str | None
    batch_name: str | None
    upstream_id: str | None
    created_at: datetime
    completed_at: datetime | None
    metadata: Mapping[str, str | None]

    @property
    def seconds(self) -> float | None:
        """From its acceptance to its end; None while it is open."""
        if self.completed_at is None:
            return None
        return max((self.completed_at - self.created_at).total_seconds(), 0.0)


class JobRows(NamedTuple):
    """A page of rows, newest first; `next` is the id to go on from, None on the last page."""

    rows: Sequence[JobRow]
    next: UUID | None


async def job_rows(
    deps: Deps, wanted: JobFilter, cursor: PageCursor, size: int, keys: Sequence[str] = ()
) -> JobRows:
    """The jobs of a filter from a place in the list, with the values of these keys of their metadata."""
    page = await job_page(deps, wanted, "summary", cursor, size=size, keys=keys)
    lines = "".join(page.texts).split(END)[:-1]
    return JobRows([_row(json.loads(line)) for line in lines], page.last if page.more else None)


def _row(told: dict[str, Any]) -> JobRow:
    ended = told["completedAt"]
    return JobRow(
        UUID(told["id"]),
        told["tenant"],
        told["name"],
        told["workflow"],
        told["state"],
        told["errorCode"],
        told["errorMessage"],
        told["batchName"],
        told["upstreamId"],
        datetime.fromisoformat(told["createdAt"]),
        datetime.fromisoformat(ended) if ended else None,
        told["metadata"] or {},
    )
