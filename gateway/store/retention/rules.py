"""On which ways pruning goes over the tables, from old to new, and what it does with the rows."""

from typing import NamedTuple

_PENDING_OF_EVENT = (
    "EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = r.id AND d.state = 'pending')"
)
_PENDING = "r.state = 'pending'"
_DROP_ATTEMPTS = "DELETE FROM attempt WHERE delivery_id = ANY($1::uuid[])"
_PRUNED_BODY = """'{"type":"' || type || '","timestamp":"'
  || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
  || '","data":{"id":"' || job_id || '","truncated":true}}'"""


class PruneRule(NamedTuple):
    """Which rows `r` of a table are met, in which order, and what is done with those of ids $1.

    The first statement tells how many rows it changed. An order by time is one for rows that come
    to be, or are at stake once more, later than their ids say.
    """

    kind: str
    table: str
    do: tuple[str, ...]
    time: str | None = None
    only: str = "TRUE"
    waits: str = "FALSE"

    def next_rows(self) -> str:
        """From after $2 up to before $3; of rows of one instant all or none."""
        key = self.time or "id"
        return f"""
SELECT r.id FROM {self.table} r WHERE r.tenant_id = $1 AND r.{key} > $2 AND r.{key} < $3
  AND {self.only} ORDER BY r.{key} FETCH FIRST $4 ROWS WITH TIES"""

    def looked_at(self) -> str:
        """Held, so that none begins to wait in the next moment; a delivery that does is a replay."""
        return f"""
SELECT r.id, {self.time or "NULL::timestamptz"} AS at, {self.waits} AS waits
FROM {self.table} r WHERE r.id = ANY($1::uuid[]) ORDER BY {self.time or "id"}, id
{"" if self.table == "delivery" else "FOR UPDATE"}"""


# Behind its cursor no job has its input any more.
PAYLOADS = "payloads"
# Jobs go first, so that none is changed a moment before it goes.
WAYS = {
    # Of a job that the upstream still has to be told of the row is needed.
    "jobs": PruneRule(
        "jobs",
        "job",
        (
            "DELETE FROM job WHERE id = ANY($1::uuid[])",
            "DELETE FROM job_event WHERE job_id = ANY($1::uuid[])",
        ),
        waits="r.upstream_delete_at IS NOT NULL",
    ),
    PAYLOADS: PruneRule(
        "payloads",
        "job",
        (
            """
UPDATE job SET params = '{}', result = NULL, copy_results_to = NULL, version = version + 1
WHERE id = ANY($1::uuid[]) AND (params::text <> '{}' OR result IS NOT NULL)""",
        ),
    ),
    # A body stays the same until the last attempt to deliver it.
    "bodies": PruneRule(
        "payloads",
        "event",
        (
            f"""
UPDATE event e SET body = p.body
FROM (SELECT id, {_PRUNED_BODY} AS body FROM event WHERE id = ANY($1::uuid[])) AS p
WHERE e.id = p.id AND e.body <> p.body""",
        ),
        time="created_at",
        only="r.job_id IS NOT NULL",
        waits=_PENDING_OF_EVENT,
    ),
    "attempts": PruneRule(
        "attempts", "delivery", (_DROP_ATTEMPTS,), only="r.resent_at IS NULL", waits=_PENDING
    ),
    # What many deliveries or jobs were sent again by.
    "operations": PruneRule(
        "attempts",
        "bulk",
        ("DELETE FROM bulk WHERE id = ANY($1::uuid[])",),
        time="completed_at",
    ),
    "replays": PruneRule(
        "attempts", "delivery", (_DROP_ATTEMPTS,), time="resent_at", waits=_PENDING
    ),
    "events": PruneRule(
        "events",
        "event",
        (
            "DELETE FROM event WHERE id = ANY($1::uuid[])",
            """
DELETE FROM attempt WHERE delivery_id IN
  (SELECT id FROM delivery WHERE event_id = ANY($1::uuid[]))""",
            "DELETE FROM delivery WHERE event_id = ANY($1::uuid[])",
        ),
        time="created_at",
        waits=_PENDING_OF_EVENT,
    ),
}
