"""The revision of the schema, for commands that need a certain one."""

import asyncio

from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.store.migration.migrate import newest_revision, present_revision
from gateway.store.migration.revisions import UnknownRevisionError, is_newer, known_revisions


def require_schema(url: str) -> None:
    """Raise CommandError if the schema is older than this version needs, or unknown to it."""
    found, newest = present(url), newest_revision()
    if found == newest or (found is not None and is_newer(found)):
        return
    if found is None or found in known_revisions():
        raise CommandError(
            f"the schema is at {found or 'nothing'}, not at {newest}",
            ExitCode.CONFLICT,
            "`gateway db upgrade` migrates it.",
        )
    raise CommandError(
        str(UnknownRevisionError(found)),
        ExitCode.CONFLICT,
        "Use the version of the gateway that made this schema.",
    )


def present(url: str) -> str | None:
    """Return the revision of a database; None before the first."""
    return asyncio.run(present_revision(url))
