"""The rules of pruning: which rows of which table, in which order, and what is done with them."""

from typing import NamedTuple

_PENDING_OF_EVENT = (
    "EXISTS (SELECT 1 FROM delivery d WHERE d.event_id = r.id AND d.state = 'pending')"
)
_PENDING = "r.state = 'pending'"
_DROP_ATTEMPTS = "DELETE FROM attempt WHERE delivery_id = ANY(:ids::uuid[])"
_PRUNED_BODY = """'{"type":"' || type || '","timestamp":"'
  || to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
  || '","data":{"id":"' || job_id || '","truncated":true}}'"""


class PruneRule(NamedTuple):
    """Which rows `r` of a table a rule reads, in which order, and the statements for those of `:ids`.

    The first statement tells how many rows were pruned. The order is that of ids, or of a time where rows
    are made, or become due again, later than their ids say. Rows that fulfil `waits` cannot be pruned yet.
    """

    kind: str
    table: str
    do: tuple[str, ...]
    time: str | None = None
    only: str = "TRUE"
    waits: str = "FALSE"

    def next_rows(self) -> str:
        """The ids between two positions, both excluded; of rows with the same time all or none."""
        key = self.time or "id"
        return f"""
SELECT r.id FROM {self.table} r WHERE r.tenant_id = :tenant_id AND r.{key} > :after AND r.{key} < :before
  AND {self.only} ORDER BY r.{key} FETCH FIRST :limit ROWS WITH TIES"""

    def examined_rows(self) -> str:
        """The rows of ids, locked so that none of them begins to wait before it is pruned.

        Deliveries are not locked: one that begins to wait is a replay.
        """
        return f"""
SELECT r.id, {self.time or "NULL::timestamptz"} AS at, {self.waits} AS waits
FROM {self.table} r WHERE r.id = ANY(:ids::uuid[]) ORDER BY {self.time or "id"}, id
{"" if self.table == "delivery" else "FOR UPDATE"}"""


# Jobs before the cursor of this rule have no input any more.
PAYLOADS = "payloads"
# Jobs are first, so that no payload is dropped of a job that is deleted a moment later.
RULES = {
    # A job that must still be deleted at the upstream keeps its row.
    "jobs": PruneRule(
        "jobs",
        "job",
        (
            "DELETE FROM job WHERE id = ANY(:ids::uuid[])",
            "DELETE FROM job_event WHERE job_id = ANY(:ids::uuid[])",
        ),
        waits="r.upstream_delete_at IS NOT NULL",
    ),
    PAYLOADS: PruneRule(
        "payloads",
        "job",
        (
            """
UPDATE job SET params = '{}', result = NULL, copy_results_to = NULL, version = version + 1
WHERE id = ANY(:ids::uuid[]) AND (params::text <> '{}' OR result IS NOT NULL)""",
        ),
    ),
    # A body stays the same until the last attempt to deliver it.
    "bodies": PruneRule(
        "payloads",
        "event",
        (
            f"""
UPDATE event e SET body = p.body
FROM (SELECT id, {_PRUNED_BODY} AS body FROM event WHERE id = ANY(:ids::uuid[])) AS p
WHERE e.id = p.id AND e.body <> p.body""",
        ),
        time="created_at",
        only="r.job_id IS NOT NULL",
        waits=_PENDING_OF_EVENT,
    ),
    "attempts": PruneRule(
        "attempts", "delivery", (_DROP_ATTEMPTS,), only="r.resent_at IS NULL", waits=_PENDING
    ),
    # Bulk operations.
    "operations": PruneRule(
        "attempts",
        "bulk",
        ("DELETE FROM bulk WHERE id = ANY(:ids::uuid[])",),
        time="completed_at",
    ),
    "replays": PruneRule(
        "attempts", "delivery", (_DROP_ATTEMPTS,), time="resent_at", waits=_PENDING
    ),
    "events": PruneRule(
        "events",
        "event",
        (
            "DELETE FROM event WHERE id = ANY(:ids::uuid[])",
            """
DELETE FROM attempt WHERE delivery_id IN
  (SELECT id FROM delivery WHERE event_id = ANY(:ids::uuid[]))""",
            "DELETE FROM delivery WHERE event_id = ANY(:ids::uuid[])",
        ),
        time="created_at",
        waits=_PENDING_OF_EVENT,
    ),
}
