"""The values that are sealed with a master key: which key seals them, and their replacement."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.store.database import Tx


class Kind(NamedTuple):
    """A column of sealed values. `table` is also a part of the place that each value is sealed for."""

    name: str
    table: str
    column: str
    version: str
    condition: str


# A sealed value begins with the number of its key. A value that was given up is empty.
KINDS = (
    Kind("credentials", "credential", "sealed", "version", "sealed <> ''"),
    Kind(
        "signing secrets",
        "signing_secret",
        "sealed",
        "1",
        "sealed <> '' AND (expires_at IS NULL OR expires_at > now())",
    ),
    Kind("endpoint headers", "endpoint", "headers_sealed", "1", "headers_sealed <> ''"),
)

_COUNT = "\nUNION ALL\n".join(
    f"""SELECT '{kind.name}' AS kind, substring({kind.column} FROM 1 FOR 4) AS key, count(*)::int AS count
FROM {kind.table} WHERE {kind.condition} GROUP BY 2"""
    for kind in KINDS
)


class Count(NamedTuple):
    """How many values of a kind are sealed with a key."""

    kind: str
    key: bytes
    values: int


class Value(NamedTuple):
    """A sealed value and the row that has it."""

    id: UUID
    tenant_id: UUID
    version: int
    sealed: bytes


async def counts(tx: Tx) -> list[Count]:
    """How many values each key seals; reads every row of three tables and opens no value."""
    return [Count(*row) for row in await tx.rows(_COUNT)]


async def others(tx: Tx, kind: Kind, key: bytes, after: UUID, limit: int) -> list[Value]:
    """The next values of a kind that are sealed with any key but this one, in the order of their ids."""
    rows = await tx.rows(
        f"""SELECT id, tenant_id, {kind.version}, {kind.column} FROM {kind.table}
WHERE {kind.condition} AND substring({kind.column} FROM 1 FOR 4) <> $1 AND id > $2
ORDER BY id LIMIT $3""",
        key,
        after,
        limit,
    )
    return [Value(*row) for row in rows]


async def replace(tx: Tx, kind: Kind, values: Sequence[tuple[UUID, bytes, bytes]]) -> int:
    """Replace values, given as (id, old, new), that are still the old ones; returns how many."""
    return await tx.run(
        f"""UPDATE {kind.table} SET {kind.column} = u.new
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS u(id, old, new)
WHERE {kind.table}.id = u.id AND {kind.table}.{kind.column} = u.old""",
        *(list(column) for column in zip(*values, strict=True)),
    )


async def give_up(tx: Tx, kind: Kind, key: bytes) -> int:
    """Empty the values of a kind that are sealed with a key; returns how many."""
    return await tx.run(
        f"UPDATE {kind.table} SET {kind.column} = '' WHERE substring({kind.column} FROM 1 FOR 4) = $1",
        key,
    )
