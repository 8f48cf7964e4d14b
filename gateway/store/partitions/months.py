"""Maintenance of the months: partitions ahead of time, and months that go once nothing in them is kept.

Each month is one transaction with a short lock, so a crash leaves a month as it was or as it has to be. A
month that was taken off and not yet dropped carries a comment, and the next run drops it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from gateway.core.months import PartitionMonth, months_between
from gateway.core.uuid7 import time_of
from gateway.store.conditions import OPEN_STATES
from gateway.store.migration.migration_lock import Tell
from gateway.store.partitions import keys
from gateway.store.partitions.definition import KEY_OF, Definition, definition_of
from gateway.store.partitions.layout import DEFAULT, OLD, Partition, partitions_of
from gateway.store.partitions.session import briefly, run_all
from gateway.store.partitions.switch_on import MONTHS_AHEAD, attach_month, new_partition

_GONE = "the gateway drops this table: its jobs are past their retention"
_KEYS_AT_ONCE = 5000
_WITHOUT_KEYS = ("job_label_", "job_event_")
# The first id behind a partition.
_END = """
SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''([^'']+)''\\)')::uuid FROM pg_class
WHERE oid = $1::regclass"""
_WAITS = f"""
SELECT CASE
  WHEN EXISTS (SELECT 1 FROM tenant t WHERE (COALESCE(t.keep_jobs, $1::int) = 0
      OR $2::timestamptz + COALESCE(t.keep_jobs, $1) * interval '1 day' > $3::timestamptz)
    AND EXISTS (SELECT 1 FROM {{name}} j WHERE j.tenant_id = t.id)) THEN 'a tenant keeps jobs of it'
  WHEN EXISTS (SELECT 1 FROM job WHERE id < $4::uuid AND state IN {OPEN_STATES})
    OR EXISTS (SELECT 1 FROM {{name}} WHERE state IN {OPEN_STATES})
    THEN 'a job of it, or an older one, is open'
  WHEN EXISTS (SELECT 1 FROM {{name}} WHERE upstream_delete_at IS NOT NULL)
    THEN 'a job of it must still be deleted upstream'
END"""
# As drift.note_pruning for the pruning by row.
_ENDED = "SELECT tenant_id, max(completed_at) FROM {name} WHERE completed_at IS NOT NULL GROUP BY tenant_id"
_ATTEMPTED = """
SELECT d.tenant_id, max(a.started_at) FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.job_id < '{end}' GROUP BY d.tenant_id"""
_RAISE = """
INSERT INTO usage_horizon AS h {pruned}
ON CONFLICT (tenant_id) DO UPDATE SET until = GREATEST(h.until, excluded.until)"""
_LEFT = f"""
SELECT c.relname::text AS name FROM pg_class c
WHERE c.relkind = 'r' AND NOT c.relispartition AND c.relnamespace = current_schema()::regnamespace
  AND obj_description(c.oid, 'pg_class') = '{_GONE}' ORDER BY 1"""
_DROP_KEYS = """
WITH next AS MATERIALIZED (SELECT id, tenant_id, idempotency_key FROM {name}
  WHERE id > $1 ORDER BY id LIMIT $2
), gone AS (DELETE FROM job_key k USING next n
  WHERE k.tenant_id = n.tenant_id AND k.idempotency_key = n.idempotency_key AND k.job_id = n.id)
SELECT id FROM next ORDER BY id DESC LIMIT 1"""


class Maintained(NamedTuple):
    """The months that were made and dropped, and for the oldest that stays, why."""

    made: Sequence[PartitionMonth]
    dropped: Sequence[str]
    oldest: str
    because: str


@dataclass(frozen=True, slots=True)
class MonthKeeper:
    """Makes the months of the near future, and drops those that nothing needs.

    `keep_days` is the retention of tenants that have none of their own, 0 is for ever.
    """

    session: Any
    tell: Tell
    now: datetime
    keep_days: int

    async def maintain(self, *, dry_run: bool) -> Maintained:
        """Do all that is due, or only say what."""
        found = await partitions_of(self.session, "job")
        known = [one.month for one in found if one.month is not None]
        made = months_between(max(known), PartitionMonth.of(self.now), MONTHS_AHEAD)
        if not dry_run:
            for month in made:
                await briefly(self.session, self.tell, partial(self._make, month))
            await self._drop_left()
        dropped, because = list[str](), ""
        for one in found[:-1]:
            end = await self.session.fetchval(_END, one.name)
            because = await self._waits(one, end)
            if because:
                return Maintained(made, dropped, one.suffix, because)
            dropped.append(one.suffix)
            if not dry_run:
                await self._drop(one, end)
        return Maintained(made, dropped, "", "")

    async def _make(self, month: PartitionMonth) -> None:
        for table in KEY_OF:
            of = await definition_of(self.session, table, partition=f"{table}_{DEFAULT}")
            await run_all(self.session, new_partition(of, month.name))
            # New rows of the month must not go to the default partition meanwhile.
            await self.session.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
            await self.session.execute(_taken_from_default(of, month))
            await self.session.execute(attach_month(of, month))

    async def _waits(self, one: Partition, end: UUID) -> str:
        """Why the jobs of a partition cannot go yet; empty if they can."""
        if time_of(end) > self.now:
            return "it still takes new jobs"
        arguments = (self.keep_days, time_of(end), self.now, end)
        return await self.session.fetchval(_WAITS.format(name=one.name), *arguments) or ""

    async def _drop(self, one: Partition, end: UUID) -> None:
        # Too high a horizon only leaves an hour uncompared, so it may be raised before.
        for pruned in (_ENDED, _ATTEMPTED):
            await self.session.execute(_RAISE.format(pruned=pruned.format(name=one.name, end=end)))
        await briefly(self.session, self.tell, partial(self._take_off, one, end))
        await self.session.execute(_RAISE.format(pruned=_ATTEMPTED.format(end=end)))
        await self._drop_left()

    async def _take_off(self, one: Partition, end: UUID) -> None:
        await self.session.execute(f"LOCK TABLE {', '.join(KEY_OF)} IN ACCESS EXCLUSIVE MODE")
        if await self._waits(one, end):
            return
        for table in KEY_OF:
            name = f"{table}_{one.suffix}"
            await self.session.execute(f"ALTER TABLE {table} DETACH PARTITION {name}")
            await self.session.execute(f"COMMENT ON TABLE {name} IS '{_GONE}'")
        if one.suffix == OLD:
            await self.session.execute(keys.claim_function(has_old=False))

    async def _drop_left(self) -> None:
        """Drop the tables that were taken off, with the keys of their jobs."""
        names = [row["name"] for row in await self.session.fetch(_LEFT)]
        for name in names:
            if not name.startswith(_WITHOUT_KEYS):
                after: UUID | None = UUID(int=0)
                while after is not None:
                    sql = _DROP_KEYS.format(name=name)
                    after = await self.session.fetchval(sql, after, _KEYS_AT_ONCE)
        for name in names:
            await self.session.execute(f"DROP TABLE {name}")


def _taken_from_default(of: Definition, month: PartitionMonth) -> str:
    """The statement that moves the rows of a month whose partition was not made in time."""
    return (
        f"WITH late AS (DELETE FROM {of.partition(DEFAULT)} WHERE {of.key} >= '{month.first}'"
        f" AND {of.key} < '{month.next.first}' RETURNING *)"
        f" INSERT INTO {of.partition(month.name)} SELECT * FROM late"
    )
