"""Partition the jobs by month with the data in place: the table becomes the first partition.

1. A CHECK that every id lies before the first month is added NOT VALID, and then validated by one read of the
   table, beside all work. The bound lies at least a week ahead, so that no insert meets it.
2. In one transaction the tables are renamed, partitioned ones take their names, and the former tables are
   attached to them. Nothing is copied or read, because the CHECK proves the range. Everybody else waits for
   that transaction, or sees it whole.

An interruption before 2 leaves nothing but the CHECK, which the next run, or `off`, replaces or removes.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg  # pyright: ignore[reportMissingTypeStubs]

from gateway.core.months import PartitionMonth, first_own_month
from gateway.store.migration.migration_lock import Tell
from gateway.store.migration.preflight import DatabaseRefusedError
from gateway.store.partitions import keys
from gateway.store.partitions.definition import KEY_OF, Definition, definition_of, protection
from gateway.store.partitions.layout import DEFAULT, OLD
from gateway.store.partitions.session import briefly, run_all

# No insert may reach the bound before the tables are switched, even if somebody has to look at a failure first.
_LEAST = timedelta(days=7)
MONTHS_AHEAD = 3
_LIKE = "INCLUDING DEFAULTS INCLUDING STORAGE INCLUDING COMPRESSION INCLUDING COMMENTS INCLUDING GENERATED"
_IN_THE_WAY = """
SELECT 'the view ' || c.oid::regclass AS what FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
  JOIN pg_class c ON c.oid = r.ev_class
WHERE d.refobjid = $1::regclass AND d.classid = 'pg_rewrite'::regclass
UNION SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
WHERE confrelid = $1::regclass AND contype = 'f'
UNION SELECT 'the publication ' || p.pubname FROM pg_publication_rel r JOIN pg_publication p
  ON p.oid = r.prpubid WHERE r.prrelid = $1::regclass
UNION SELECT 'a replica identity by index' FROM pg_class WHERE oid = $1::regclass AND relreplident = 'i'
LIMIT 1"""

_UNFINISHED = """
SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conname = ANY($1::text[])
  AND connamespace = current_schema()::regnamespace)"""


class Switched(NamedTuple):
    """The first month with a partition of its own, and how many seconds the tables were locked at most."""

    month: PartitionMonth
    seconds: float


def month_to_begin(now: datetime) -> PartitionMonth:
    """The first month that gets a partition of its own."""
    return first_own_month(now, _LEAST)


async def switch_on(session: Any, tell: Tell, month: PartitionMonth, ahead: int) -> Switched:  # noqa: ANN401
    """Partition the three tables, with `ahead` months from one on; the session is that of `owner_session`."""
    for table in KEY_OF:
        if what := await session.fetchval(_IN_THE_WAY, table):
            raise DatabaseRefusedError(
                f"{what} would stay with the old table {table}",
                "Drop it, and make it again afterwards.",
            )
    switched = False
    try:
        for table, key in KEY_OF.items():
            await _prove(session, tell, table, key, month.first)
        seconds = await briefly(session, tell, lambda: _switch(session, month, ahead))
        switched = True
    finally:
        if not switched:
            # A lost connection keeps the CHECK; `status` and the doctor tell of it.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await remove_proofs(session, tell)
    for table in KEY_OF:
        await session.execute(f"ANALYZE {table}")
    return Switched(month, seconds)


async def is_unfinished(session: Any) -> bool:  # noqa: ANN401
    """Whether a CHECK is left of a run that did not come to its end."""
    return bool(await session.fetchval(_UNFINISHED, list(map(_proof, KEY_OF))))


async def remove_proofs(session: Any, tell: Tell) -> None:  # noqa: ANN401
    """Drop the CHECKs of a run that did not come to its end."""

    async def drop() -> None:
        for table in KEY_OF:
            await session.execute(f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {_proof(table)}")

    await briefly(session, tell, drop)


async def _prove(session: Any, tell: Tell, table: str, key: str, bound: UUID) -> None:  # noqa: ANN401
    tell(f"Reading {table} once, beside all work.")

    async def add() -> None:
        await session.execute(
            f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {_proof(table)},"
            f" ADD CONSTRAINT {_proof(table)} CHECK ({key} < '{bound}') NOT VALID"
        )

    await briefly(session, tell, add)
    await session.execute(f"ALTER TABLE {table} VALIDATE CONSTRAINT {_proof(table)}")


async def _switch(session: Any, month: PartitionMonth, ahead: int) -> None:  # noqa: ANN401
    await session.execute(f"LOCK TABLE {', '.join(KEY_OF)} IN ACCESS EXCLUSIVE MODE")
    months = [month]
    while len(months) < ahead:
        months.append(months[-1].next)
    for table in KEY_OF:
        found = await definition_of(session, table)
        await run_all(session, _become_partitioned(found, month.first))
        for one in months:
            await run_all(session, new_partition(found, one.name))
            await session.execute(attach_month(found, one))
        await run_all(session, new_partition(found, DEFAULT))
        await session.execute(
            f"ALTER TABLE {table} ATTACH PARTITION {found.partition(DEFAULT)} DEFAULT"
        )
        await run_all(session, (made_by for _, made_by in found.triggers))
        if table == "job":
            await session.execute(keys.CREATE)
            await run_all(session, protection(found, keys.TABLE))
            await run_all(session, (grant % keys.TABLE for grant in found.grants))
            await run_all(session, keys.install())


def _become_partitioned(of: Definition, bound: UUID) -> list[str]:
    """The statements after which the table is the first partition of a partitioned one with its name."""
    old = of.partition(OLD)
    return [
        f"ALTER TABLE {of.name} RENAME TO {old}",
        *(f"ALTER INDEX {one.name} RENAME TO {one.named(OLD)}" for one in of.indexes),
        *(f"DROP TRIGGER {name} ON {old}" for name, _ in of.triggers),
        f"CREATE TABLE {of.name} (LIKE {old} {_LIKE}) PARTITION BY RANGE ({of.key})",
        *(one.on(of.name, one.name) for one in of.indexes if not one.is_local),
        *protection(of, of.name),
        *(grant % of.name for grant in of.grants),
        *_identity(of, of.name),
        f"ALTER TABLE {of.name} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('{bound}')",
        f"ALTER TABLE {old} DROP CONSTRAINT {_proof(of.name)}",
    ]


def new_partition(of: Definition, suffix: str) -> Sequence[str]:
    """The statements that make a partition with all indexes, not yet attached."""
    name = of.partition(suffix)
    options = f" WITH ({of.options})" if of.options else ""
    return [
        f"CREATE TABLE {name} (LIKE {of.name} {_LIKE}){options}",
        *(one.on(name, one.named(suffix)) for one in of.indexes),
        *protection(of, name),
        *_identity(of, name),
    ]


def attach_month(of: Definition, month: PartitionMonth) -> str:
    """The statement that attaches the partition of a month."""
    return (
        f"ALTER TABLE {of.name} ATTACH PARTITION {of.partition(month.name)}"
        f" FOR VALUES FROM ('{month.first}') TO ('{month.next.first}')"
    )


def _identity(of: Definition, table: str) -> list[str]:
    name = {"f": "FULL", "n": "NOTHING"}.get(of.identity)
    return [f"ALTER TABLE {table} REPLICA IDENTITY {name}"] if name else []


def _proof(table: str) -> str:
    return f"{table}_old_bound"
