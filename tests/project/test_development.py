"""docs/development.md: its statements run on the present tables, and the tests that it names exist."""

import asyncio
import re
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs/development.md").read_text()
STATEMENTS = [
    statement.strip()
    for block in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    for statement in re.sub(r"--.*", "", block).split(";")
    if statement.strip()
]


def test_the_page_has_statements() -> None:
    assert len(STATEMENTS) > 5


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_runs(database_url: str, statement: str) -> None:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
        try:
            return await connection.fetch(statement.replace(":'job'", f"'{UUID(int=1)}'"))
        finally:
            await connection.close()

    # There is no such job; only the restore detector has its one row.
    assert len(asyncio.run(run())) == ("FROM beacon" in statement)


def test_named_tests_exist() -> None:
    named = set(re.findall(r"\b(?<!/)test_[a-z_]+\b(?!\.py)", re.sub(r"-k \w+", "", PAGE)))
    known = {
        name
        for module in TESTS.rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", module.read_text())
    }
    assert named
    assert named - known == set()
