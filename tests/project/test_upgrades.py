"""The page about upgrades has a row for each migration, and calls it what it is."""

import re

from gateway.store.migration.revisions import known_revisions
from tests.conftest import ROOT

PAGE = ROOT / "docs/upgrades.md"
# What older code may still need.
_CONTRACTS = re.compile(r"op\.(drop_column|drop_table|rename_table)|new_column_name")


def rows() -> dict[str, list[str]]:
    """The table of migrations: the other cells by revision."""
    section = PAGE.read_text().partition("\n## Migrations\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| 0"]
    return {revision: rest for revision, *rest in lines}


def upgrade_of(revision: str) -> str:
    """The code of a migration that is run on the way up."""
    (file,) = (ROOT / "migrations/versions").glob(f"{revision}_*.py")
    return file.read_text().partition("def upgrade(")[2].partition("\ndef downgrade(")[0]


def test_every_migration_has_a_row() -> None:
    found = rows()
    assert list(found) == list(known_revisions()), "docs/upgrades.md: add a row for each migration"
    for revision, cells in found.items():
        assert len(cells) == 4, revision
        assert all(cells), revision
        assert cells[0] in ("expand", "contract"), revision


def test_a_migration_that_removes_something_is_called_contract() -> None:
    for revision, (kind, *_) in rows().items():
        assert (kind == "contract") == bool(_CONTRACTS.search(upgrade_of(revision))), revision


def test_the_oldest_code_that_works_never_gets_older() -> None:
    works = [re.match(r"\d{4}", cells[2]) for cells in rows().values()]
    found = [one[0] for one in works if one]
    assert len(found) == len(works)
    assert found == sorted(found)
