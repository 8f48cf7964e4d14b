"""The partitions that exist, with their ranges and sizes, as the catalogue has them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gateway.core.months import PartitionMonth

OLD, DEFAULT = "old", "default"
_KIND = "SELECT relkind::text FROM pg_class WHERE oid = to_regclass($1)"
_SIZE = "SELECT pg_total_relation_size($1::regclass)"
_PARTITIONS = """
SELECT c.relname::text AS name, pg_get_expr(c.relpartbound, c.oid) AS range,
  pg_total_relation_size(c.oid) AS size, c.reltuples::bigint AS rows
FROM pg_inherits h JOIN pg_class c ON c.oid = h.inhrelid
WHERE h.inhparent = $1::regclass AND NOT h.inhdetachpending"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of one of the tables; `rows` is an estimate, below zero where it was never analyzed."""

    table: str
    suffix: str
    range: str
    size: int
    rows: int

    @property
    def name(self) -> str:
        """The name of the partition."""
        return f"{self.table}_{self.suffix}"

    @property
    def month(self) -> PartitionMonth | None:
        """Its month; None for what came before, and for the rest."""
        return PartitionMonth.named(self.suffix)


async def is_partitioned(session: Any) -> bool:  # noqa: ANN401
    """Whether the jobs are partitioned by month."""
    return await session.fetchval(_KIND, "job") == "p"


async def partitions_of(session: Any, table: str) -> list[Partition]:  # noqa: ANN401
    """The partitions of a table, oldest first, the default one last."""
    rows = await session.fetch(_PARTITIONS, table)
    found = [
        Partition(
            table, row["name"].removeprefix(f"{table}_"), row["range"], row["size"], row["rows"]
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (one.suffix == DEFAULT, one.suffix != OLD, one.suffix))


async def bytes_of(session: Any, tables: Iterable[str]) -> int:  # noqa: ANN401
    """The size of tables with all their indexes."""
    return sum([await session.fetchval(_SIZE, table) for table in tables])


async def has_rows(session: Any, table: str) -> bool:  # noqa: ANN401
    """Whether a table has any row."""
    return bool(await session.fetchval(f"SELECT EXISTS (SELECT 1 FROM {table})"))
