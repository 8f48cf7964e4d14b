"""`gateway db`: migrations, pruning, and the check of usage roll-ups."""

import asyncio
import time
from collections import Counter
from typing import Any

import click
from rich_click import RichGroup

from gateway import log
from gateway.cli.operate.load_settings import (
    database_url,
    settings_of_database,
    settings_of_environment,
)
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import json_option, say, show
from gateway.cli.terminal.table import Column
from gateway.errors import DatabaseDenied, Unavailable
from gateway.flows.maintain.check_usage import check_usage
from gateway.flows.maintain.prune import prune_now
from gateway.runtime import open_deps
from gateway.settings import Settings
from gateway.store.database import open_database
from gateway.store.migration.migrate import (
    DatabaseRefusedError,
    newest_revision,
    present_revision,
    upgrade_schema,
)
from gateway.store.retention.prune import KINDS

_LOOK_AGAIN_SECONDS = 0.25
_DRIFT = (
    *("tenant", "rollUp", "at", "workflow", "status", "errorCode", "batch"),
    *("jobs", "submitted", "retried", "delivered", "undelivered"),
)
_DRIFT_COLUMNS = [
    Column(name, rank=0 if name in ("tenant", "rollUp", "jobs") else place)
    for place, name in enumerate(_DRIFT)
]


@click.group(cls=RichGroup)
def db() -> None:
    """Migrate the database's schema, and maintain its rows.

    Needs only the setting GATEWAY_DATABASE_URL; `prune` needs all settings of a worker.
    """


@db.command()
@click.option(
    "--wait",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How many seconds to wait for Postgres to start.",
)
def upgrade(wait: float) -> None:
    """Apply the missing migrations.

    It is safe to run twice, and from several hosts at once: they take turns. It prints what it waits for.
    A migration that cannot lock its table within 5 seconds fails and changes nothing; run it again. The
    privileges of the login are checked before the first change. The exit status is 5 if Postgres refuses.
    Behind PgBouncer set GATEWAY_MIGRATION_DATABASE_URL to Postgres itself.
    """
    settings = settings_of_database()
    url = (
        settings.migration_database_url.get_secret_value()
        or settings.database_url.get_secret_value()
    )
    before = _wait_for(url, wait)
    newest = newest_revision()
    try:
        upgrade_schema(url, say)
    except DatabaseRefusedError as error:
        raise CommandError(
            f"the database refuses: {error}",
            ExitCode.CONFLICT,
            " ".join(filter(None, (error.hint, _reached(before, _present(url))))),
        ) from None
    say(f"The schema is at {newest}" + (" already." if before == newest else "."))


def _reached(before: str | None, after: str | None) -> str:
    """Return the sentence about the schema's revision after a failed migration."""
    if before == after:
        return f"The schema is still at {after or 'nothing'}: run it again once the reason is gone."
    return (
        f"The schema went from {before or 'nothing'} to {after}, and stays there: "
        "run it again once the reason is gone."
    )


@db.command()
@json_option
def status(*, as_json: bool) -> None:
    """Print the revision of the schema; exit status 5 if it is behind."""
    url = database_url()
    show({"revision": _present(url), "head": newest_revision()}, as_json=as_json)
    require_schema(url)


@db.command("check-usage")
@click.option("--fix", is_flag=True, help="Correct the roll-ups.")
@json_option
def check(*, fix: bool, as_json: bool) -> None:
    """Count jobs and webhooks again, and compare the counts with the usage roll-ups.

    It prints the differences, rows minus roll-ups. The exit status is 1 if there are any that were not
    corrected. Hours whose rows were pruned are not compared. The gateway may run in the meantime;
    nothing is locked for long.
    """
    url = database_url()
    require_schema(url)
    found = asyncio.run(_check(url, fix=fix))
    if found or as_json:
        show(found, as_json=as_json, columns=_DRIFT_COLUMNS)
    if not found:
        say("The roll-ups agree with the rows.")
    elif fix:
        say("The roll-ups are corrected.")
    else:
        raise CommandError(
            f"the roll-ups differ from the rows in {len(found)} places",
            ExitCode.ERROR,
            "`gateway db check-usage --fix` corrects them.",
        )


@db.command("prune")
@click.option("--tenant", "slug", metavar="SLUG", help="Only rows of this tenant.")
@click.option("--dry-run", is_flag=True, help="Only count the expired rows.")
@json_option
def prune(*, slug: str | None, dry_run: bool, as_json: bool) -> None:
    """Delete rows past their retention, in small batches; workers do the same on their own.

    The retention is set by the settings and by each tenant's limits. Usage is never deleted.
    """
    settings = settings_of_environment()
    log.configure("error", "console")  # pruning does not need Redis, so do not warn of it
    require_schema(settings.database_url.get_secret_value())
    found = asyncio.run(_prune(settings, slug, dry_run=dry_run))
    if slug is not None and not found:
        raise CommandError(f"there is no tenant '{slug}'", ExitCode.NOT_FOUND, "Check the slug.")
    rows = [
        {"tenant": name, **{kind: counts[kind] for kind in KINDS}} for name, counts in sorted(found)
    ]
    show(rows, as_json=as_json, columns=("tenant", *KINDS))
    totals = (f"{sum(counts[kind] for _, counts in found)} {kind}" for kind in KINDS)
    say(f"{'Would delete' if dry_run else 'Deleted'}: {', '.join(totals)}.")


async def _prune(
    settings: Settings, slug: str | None, *, dry_run: bool
) -> list[tuple[str, Counter[str]]]:
    async with open_deps(settings, "gateway db") as deps:
        return list((await prune_now(deps, slug, dry_run=dry_run)).items())


async def _check(url: str, *, fix: bool) -> list[dict[str, Any]]:
    database = open_database(url, pool=1, name="gateway db")
    try:
        return [
            dict(zip(_DRIFT, (slug, one.roll_up, one.at.isoformat(), *one[2:]), strict=True))
            async for slug, one in check_usage(database, fix=fix)
        ]
    finally:
        await database.close()


def require_schema(url: str) -> None:
    """Raise CommandError unless the schema has the revision that this version needs."""
    present, newest = _present(url), newest_revision()
    if present != newest:
        raise CommandError(
            f"the schema is at {present or 'nothing'}, not at {newest}",
            ExitCode.CONFLICT,
            "`gateway db upgrade` migrates it.",
        )


def _wait_for(url: str, seconds: float) -> str | None:
    end = time.monotonic() + seconds
    while True:
        try:
            return _present(url)
        except Unavailable as error:
            if isinstance(error, DatabaseDenied) or time.monotonic() >= end:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def _present(url: str) -> str | None:
    return asyncio.run(present_revision(url))
