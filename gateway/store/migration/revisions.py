"""The revisions that this version of the code knows, oldest first."""

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

import gateway


class UnknownRevisionError(Exception):
    """The schema has a revision that this version does not know."""

    def __init__(self, revision: str) -> None:
        super().__init__(f"the schema is at {revision}, which this version does not know")
        self.revision = revision


@cache
def known_revisions() -> tuple[str, ...]:
    """All revisions, oldest first; there is one line of them."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def newest_revision() -> str | None:
    """The revision that this version of the code needs."""
    known = known_revisions()
    return known[-1] if known else None


def is_newer(revision: str) -> bool:
    """Whether a revision comes after all that this version knows; ours are numbers."""
    return revision.isdecimal() and revision > (newest_revision() or "")


def alembic_config() -> Config:
    """What Alembic has to know, except for the database."""
    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> Path:
    """The folder of the migrations: inside an installed package, else beside it."""
    package = Path(gateway.__path__[0])
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"
