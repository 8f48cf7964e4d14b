"""The statements of docs/development.md run on the tables as they are."""

import asyncio
import re
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

PAGE = (Path(__file__).parents[2] / "docs/development.md").read_text()
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
