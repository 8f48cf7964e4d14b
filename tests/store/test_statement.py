"""Each declared statement is prepared on a real Postgres, and its columns are the fields of its rows."""

import ast
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints
from uuid import UUID

import pytest

import gateway.store
from gateway.store.connection.connect import PostgresConnector
from gateway.store.database import Tx
from gateway.store.statement import Query, Statement, columns, fields_of

_TYPES = {
    "bool": bool,
    "bytea": bytes,
    "float8": float,
    "int2": int,
    "int4": int,
    "int8": int,
    "json": str,
    "jsonb": str,
    "text": str,
    "timestamptz": datetime,
    "uuid": UUID,
}
_MOST_POSITIONAL = 4


class Pair(NamedTuple):
    id: int
    name: str


def _declared() -> Mapping[str, Statement | Query[Any]]:
    """All statements of the store, by module and name."""
    found: dict[str, Statement | Query[Any]] = {}
    for module in pkgutil.walk_packages(gateway.store.__path__, "gateway.store."):
        for name, value in vars(importlib.import_module(module.name)).items():
            for place, one in enumerate(_inside(value)):
                found[f"{module.name.removeprefix('gateway.store.')}.{name}.{place}"] = one
    return found


def _inside(value: object) -> Iterator[Statement | Query[Any]]:
    if isinstance(value, (Statement, Query)):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _inside(one)
    elif isinstance(value, (tuple, list)):
        for one in value:
            yield from _inside(one)


_DECLARED = _declared()


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Any]:
    """A session of the driver, which prepares statements without running them."""
    session = await PostgresConnector(database_url, "tests").connect()
    yield session
    session.terminate()


def _sources() -> Iterator[tuple[str, ast.Module]]:
    root = Path(gateway.store.__path__[0])
    for path in sorted(root.rglob("*.py")):
        yield str(path.relative_to(root)), ast.parse(path.read_text())


def _fits(hint: object, column: Any) -> bool:
    allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if column.kind == "array":
        return any(get_origin(one) in (list, tuple, frozenset) for one in allowed)
    wanted = _TYPES[column.name]
    return any(
        one is wanted or (wanted is str and isinstance(one, type) and issubclass(one, StrEnum))
        for one in allowed
    )


@pytest.mark.parametrize("name", _DECLARED)
async def test_the_columns_of_each_statement_are_the_fields_of_its_rows(
    name: str, session: Any
) -> None:
    declared = _DECLARED[name]
    statement = declared if isinstance(declared, Statement) else declared.statement
    prepared = await session.prepare(statement.sql)
    assert len(prepared.get_parameters()) == len(statement.names)
    if isinstance(declared, Query):
        found = prepared.get_attributes()
        names = fields_of(declared.row_type)
        assert [column.name for column in found] == list(names)
        hints = get_type_hints(declared.row_type)
        assert [one.name for one in found if not _fits(hints[one.name], one.type)] == []


def test_the_claims_are_among_the_declared_statements() -> None:
    assert {"work.submits.CLAIM.0", "work.polls.CLAIM.0", "webhooks.deliveries.CLAIM.0"} <= set(
        _DECLARED
    )


def test_statements_are_compiled_at_import_and_never_in_a_call() -> None:
    late = [
        f"{path}:{call.lineno}"
        for path, tree in _sources()
        if path != "statement.py"
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"Statement", "Query"}
    ]
    assert late == []


def test_statements_with_more_than_four_arguments_name_them() -> None:
    numbered = [
        f"{path}:{text.lineno}"
        for path, tree in _sources()
        for text in ast.walk(tree)
        if isinstance(text, ast.Constant)
        and isinstance(text.value, str)
        and any(int(n) > _MOST_POSITIONAL for n in re.findall(r"\$(\d+)", text.value))
    ]
    assert numbered == []


def test_each_name_has_one_number() -> None:
    statement = Statement("SELECT :limit::int + :more::int + :limit")
    assert statement.sql == "SELECT $1::int + $2::int + $1"
    assert statement.names == ("limit", "more")
    assert statement.arguments({"more": 2, "limit": 1}) == (1, 2)


def test_literals_quoted_names_comments_and_casts_hold_no_parameters() -> None:
    sql = """SELECT 'it''s :a', "b:c" -- not :d, and it's the rest of the line
, now()::text"""
    assert Statement(sql).sql == sql
    assert Statement(sql).names == ()


def test_positional_parameters_are_refused_at_import() -> None:
    with pytest.raises(ValueError, match=r"\$1: a statement takes named parameters only"):
        Statement("SELECT $1")


async def test_missing_and_unknown_names_are_refused_without_a_query(tx: Tx) -> None:
    one, two = Statement("SELECT :a::int"), Statement("SELECT :a::int, :b::int")
    with pytest.raises(TypeError, match=r"takes \['a', 'b'\]: missing \['b'\], unknown \[\]"):
        await two.rows(tx, a=1)
    with pytest.raises(TypeError, match=r"takes \['a'\]: missing \[\], unknown \['b'\]"):
        await one.run(tx, a=1, b=2)
    with pytest.raises(TypeError, match=r"takes \['a'\]: missing \['a'\], unknown \['b'\]"):
        await one.run(tx, b=2)
    assert not tx.has_begun


async def test_rows_are_read_by_column_name(tx: Tx) -> None:
    statement = Statement("SELECT n AS id FROM generate_series(1, :most::int) AS n")
    assert [row.id for row in await statement.rows(tx, most=2)] == [1, 2]
    assert (await statement.one(tx, most=1)).id == 1
    assert await statement.row(tx, most=0) is None
    assert await Statement("SELECT 1").run(tx) == 1


async def test_a_query_makes_values_of_its_rows(tx: Tx) -> None:
    sql = "SELECT id, name FROM unnest(:id::int[], :name::text[]) AS u(id, name) ORDER BY id"
    query = Query(sql, Pair)
    pairs = [Pair(1, "a"), Pair(2, "b")]
    assert await query.rows(tx, **columns(Pair, pairs)) == pairs
    assert await query.one(tx, **columns(Pair, pairs)) == pairs[0]
    assert await query.row(tx, **columns(Pair, [])) is None
    names = Query(sql, Pair, lambda row: Pair(row.id, row.name.upper()))
    assert await names.row(tx, **columns(Pair, pairs)) == Pair(1, "A")
