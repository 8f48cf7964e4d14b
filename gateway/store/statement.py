"""SQL statements with named parameters, compiled once at import.

The driver takes parameters by number (`$1`). A statement here is written with names (`:limit`), so two
values of the same type cannot be swapped unnoticed. At import each name is given its number; a call
only puts its values in that order. A missing or an unknown name raises TypeError at once.

A `Query` also names the type of its rows. Values go into its fields by position, which costs nothing.
tests/store/test_statement.py prepares every declared statement on a real Postgres and compares names,
order and types of the columns with the fields.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from operator import attrgetter, itemgetter
from typing import Any, Generic, TypeVar

from gateway.store.database import AnyRow, Tx

# A colon inside of a literal, a quoted name, a comment or a cast is not the start of a parameter.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*' | "[^"]*" | --[^\n]* | ::
    | :(?P<name>[a-z][a-z_0-9]*) | (?P<positional>\$\d+)""",
    re.VERBOSE,
)

R = TypeVar("R")


class Statement:
    """A statement whose rows, if it has any, are read by column name.

    Raises ValueError at import for a positional parameter.
    """

    __slots__ = ("_in_order", "names", "sql")

    def __init__(self, sql: str) -> None:
        numbers: dict[str, str] = {}

        def numbered(found: re.Match[str]) -> str:
            if found["positional"]:
                raise ValueError(f"{found[0]}: a statement takes named parameters only")
            if name := found["name"]:
                return numbers.setdefault(name, f"${len(numbers) + 1}")
            return found[0]

        self.sql = _TOKEN.sub(numbered, sql)
        self.names = tuple(numbers)
        self._in_order = _getter(self.names)

    def arguments(self, values: Mapping[str, object]) -> Sequence[object]:
        """The values in the order of their numbers; raises TypeError unless they are as declared."""
        if len(values) != len(self.names):
            raise self._mismatch(values)
        try:
            return self._in_order(values)
        except KeyError:
            raise self._mismatch(values) from None

    async def run(self, tx: Tx, /, **values: object) -> int:
        """Run it and return how many rows it changed."""
        return await tx.run(self.sql, *self.arguments(values))

    async def rows(self, tx: Tx, /, **values: object) -> Sequence[AnyRow]:
        """Run it and return its rows."""
        return await tx.rows(self.sql, *self.arguments(values))

    async def row(self, tx: Tx, /, **values: object) -> AnyRow | None:
        """Run it and return its first row."""
        return await tx.row(self.sql, *self.arguments(values))

    async def one(self, tx: Tx, /, **values: object) -> AnyRow:
        """Run a statement that always has a row, and return that row."""
        return await tx.one(self.sql, *self.arguments(values))

    def _mismatch(self, values: Mapping[str, object]) -> TypeError:
        declared = set(self.names)
        return TypeError(
            f"a statement takes {sorted(declared)}: missing {sorted(declared - set(values))}, "
            f"unknown {sorted(set(values) - declared)}"
        )


class Query(Generic[R]):
    """A statement whose columns are the fields of a NamedTuple or dataclass, in the same order.

    `read` makes a value of a row where a field has another type than its column.
    """

    __slots__ = ("_read", "row_type", "statement")

    def __init__(
        self, sql: str, row_type: type[R], read: Callable[[AnyRow], R] | None = None
    ) -> None:
        self.statement = Statement(sql)
        self.row_type = row_type
        self._read = read or _by_position(row_type)

    async def rows(self, tx: Tx, /, **values: object) -> list[R]:
        """Run it and return its rows."""
        read, statement = self._read, self.statement
        rows = await tx.rows(statement.sql, *statement.arguments(values))
        return [read(row) for row in rows]

    async def row(self, tx: Tx, /, **values: object) -> R | None:
        """Run it and return its first row."""
        row = await tx.row(self.statement.sql, *self.statement.arguments(values))
        return None if row is None else self._read(row)

    async def one(self, tx: Tx, /, **values: object) -> R:
        """Run a statement that always has a row, and return that row."""
        return self._read(await tx.one(self.statement.sql, *self.statement.arguments(values)))


def fields_of(row_type: type[Any]) -> tuple[str, ...]:
    """The names of the fields of a NamedTuple or dataclass, in their order."""
    if is_dataclass(row_type):
        return tuple(field.name for field in fields(row_type))
    return row_type._fields


def columns(row_type: type[R], rows: Sequence[R]) -> dict[str, list[object]]:
    """Rows as one array for each field, for a statement that unnests parameters of these names."""
    return {name: list(map(attrgetter(name), rows)) for name in fields_of(row_type)}


def _getter(names: Sequence[str]) -> Callable[[Mapping[str, object]], Sequence[object]]:
    if len(names) < 2:  # noqa: PLR2004 - of one name itemgetter makes no tuple
        return lambda values: [values[name] for name in names]
    return itemgetter(*names)


def _by_position(row_type: type[R]) -> Callable[[AnyRow], R]:
    return lambda row: row_type(*row)
