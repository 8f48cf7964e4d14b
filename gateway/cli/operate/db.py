"""`gateway db`: the schema of the database, and what is counted in it."""

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
    """Bring the database's schema up to date.

    Needs no setting but GATEWAY_DATABASE_URL; `prune` needs those of a worker.
    """


@db.command()
@click.option(
    "--wait",
    default=0.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds to wait for a Postgres that is not up yet.",
)
def upgrade(wait: float) -> None:
    """Apply the migrations that are missing.

    Safe to run twice and from several places at once: they take turns. Whatever it waits for is told.
    A migration that cannot lock its table in 5 seconds fails and changes nothing; run it again. What
    the login may not do is found out before the first change. Exit status 5 when it was refused.
    Behind a PgBouncer set GATEWAY_MIGRATION_DATABASE_URL to Postgres itself.
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
    """How far it came, for who has to decide what to do."""
    if before == after:
        return f"The schema is still at {after or 'nothing'}: run it again once the reason is gone."
    return (
        f"The schema went from {before or 'nothing'} to {after}, and stays there: "
        "run it again once the reason is gone."
    )


@db.command()
@json_option
def status(*, as_json: bool) -> None:
    """Print where the schema is; exit status 5 when it is behind."""
    url = database_url()
    show({"revision": _present(url), "head": newest_revision()}, as_json=as_json)
    require_schema(url)


@db.command("check-usage")
@click.option("--fix", is_flag=True, help="Put the roll-ups right.")
@json_option
def check(*, fix: bool, as_json: bool) -> None:
    """Count jobs and webhooks once more, and compare with the usage that was rolled up.

    Prints what the rows have more than the roll-ups, or less; exit status 1 when that is anything
    that was not put right. Hours that rows have been pruned of are not compared. Work may go on
    meanwhile, and nothing is locked for long.
    """
    url = database_url()
    require_schema(url)
    found = asyncio.run(_check(url, fix=fix))
    if found or as_json:
        show(found, as_json=as_json, columns=_DRIFT_COLUMNS)
    if not found:
        say("The roll-ups agree with the rows.")
    elif fix:
        say("The roll-ups have been put right.")
    else:
        raise CommandError(
            f"the roll-ups differ from the rows in {len(found)} places",
            ExitCode.ERROR,
            "`gateway db check-usage --fix` puts them right.",
        )


@db.command("prune")
@click.option("--tenant", "slug", metavar="SLUG", help="Only this tenant's.")
@click.option("--dry-run", is_flag=True, help="Only tell how many rows are older than is kept.")
@json_option
def prune(*, slug: str | None, dry_run: bool, as_json: bool) -> None:
    """Drop what is older than it is kept, in small batches; workers do the same by themselves.

    How long that is, settings say, and the limits of each tenant. Usage is never dropped.
    """
    settings = settings_of_environment()
    log.configure("error", "console")  # that Redis is away, say, is nothing to this
    require_schema(settings.database_url.get_secret_value())
    found = asyncio.run(_prune(settings, slug, dry_run=dry_run))
    if slug is not None and not found:
        raise CommandError(f"there is no tenant '{slug}'", ExitCode.NOT_FOUND, "Check the slug.")
    rows = [
        {"tenant": name, **{kind: counts[kind] for kind in KINDS}} for name, counts in sorted(found)
    ]
    show(rows, as_json=as_json, columns=("tenant", *KINDS))
    in_all = (f"{sum(counts[kind] for _, counts in found)} {kind}" for kind in KINDS)
    say(f"{'Would be dropped' if dry_run else 'Dropped'}: {', '.join(in_all)}.")


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
    """Fail unless the database can be used and its schema is the one that is needed."""
    present, newest = _present(url), newest_revision()
    if present != newest:
        raise CommandError(
            f"the schema is at {present or 'nothing'}, not at {newest}",
            ExitCode.CONFLICT,
            "`gateway db upgrade` brings it up to date.",
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
