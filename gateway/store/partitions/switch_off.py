"""Go back to one table: the largest partition becomes it, and takes the rows of the others."""

from typing import Any

from gateway.store.migration.migration_lock import Tell
from gateway.store.partitions import keys
from gateway.store.partitions.definition import KEY_OF, Definition, definition_of
from gateway.store.partitions.layout import Partition, partitions_of
from gateway.store.partitions.session import briefly, run_all

_COLUMNS = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
# The indexes of a partition, each with that of the partitioned table that it belongs to.
_INDEXES = """
SELECT c.relname::text AS name, p.relname::text AS of FROM pg_index x JOIN pg_class c
  ON c.oid = x.indexrelid LEFT JOIN pg_inherits h ON h.inhrelid = c.oid
  LEFT JOIN pg_class p ON p.oid = h.inhparent WHERE x.indrelid = $1::regclass"""


async def bytes_to_copy(session: Any) -> int:  # noqa: ANN401
    """The size of the partitions whose rows `off` has to copy."""
    found = 0
    for table in KEY_OF:
        _, others = _base_of(await partitions_of(session, table))
        found += sum(one.size for one in others)
    return found


async def switch_off(session: Any, tell: Tell) -> float:  # noqa: ANN401
    """Go back to single tables, in one transaction; returns how many seconds the tables were locked."""
    seconds = await briefly(session, tell, lambda: _switch(session))
    for table in KEY_OF:
        await session.execute(f"ANALYZE {table}")
    return seconds


async def _switch(session: Any) -> None:  # noqa: ANN401
    await session.execute(f"LOCK TABLE {', '.join(KEY_OF)} IN ACCESS EXCLUSIVE MODE")
    for table in KEY_OF:
        base, others = _base_of(await partitions_of(session, table))
        found = await definition_of(session, table, partition=base.name)
        columns = await session.fetchval(_COLUMNS, table)
        indexes = {
            row["name"]: row["of"] or row["name"].removesuffix(f"_{base.suffix}")
            for row in await session.fetch(_INDEXES, base.name)
        }
        await run_all(session, _become_one(found, base, others, columns, indexes))
    await run_all(session, keys.REMOVE)


def _become_one(
    of: Definition, base: Partition, others: list[Partition], columns: str, indexes: dict[str, str]
) -> list[str]:
    table = of.name
    return [
        f"ALTER TABLE {table} DETACH PARTITION {base.name}",
        *(
            f"INSERT INTO {base.name} ({columns}) SELECT {columns} FROM {one.name}"
            for one in others
        ),
        f"DROP TABLE {table}",
        f"ALTER TABLE {base.name} RENAME TO {table}",
        *(f"ALTER INDEX {name} RENAME TO {canonical}" for name, canonical in indexes.items()),
        *(grant % table for grant in of.grants),
        *(made_by for name, made_by in of.triggers if name not in keys.TRIGGER_NAMES),
    ]


def _base_of(found: list[Partition]) -> tuple[Partition, list[Partition]]:
    base = max(found, key=lambda one: one.size)
    return base, [one for one in found if one is not base]
