"""`gateway db`: migrations, pruning, and the check of usage roll-ups."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import click
from rich_click import RichGroup

from gateway import log
from gateway.cli.operate.load_settings import (
    database_url,
    migration_url,
    settings_of_environment,
)
from gateway.cli.operate.partition import partition
from gateway.cli.operate.required_schema import present, require_schema
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import confirm, json_option, say, show, yes_option
from gateway.cli.terminal.table import Column
from gateway.errors import DatabaseDenied, Unavailable
from gateway.settings import Settings
from gateway.store.database import open_database
from gateway.store.migration.migrate import (
    DatabaseRefusedError,
    downgrade_schema,
    newest_revision,
    upgrade_schema,
)
from gateway.store.migration.revisions import (
    is_newer,
    known_revisions,
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
    A schema that is newer than this version is left as it is.
    Behind PgBouncer set GATEWAY_MIGRATION_DATABASE_URL to Postgres itself.
    """
    url = migration_url()
    before = _wait_for(url, wait)
    _migrate(url, before, lambda: upgrade_schema(url, say))
    after = present(url)
    if after is not None and is_newer(after):
        say(f"Nothing to do: {_newer(after)}")
    elif after == before:
        say(f"Nothing to do: the schema is at {after} already.")
    else:
        say(f"The schema is at {after}.")


@db.command()
@click.argument("target", metavar="[REVISION]", required=False)
@yes_option
def downgrade(target: str | None, *, yes: bool) -> None:
    """Take back the newest migration, or all after REVISION.

    Seldom needed: the previous version of the gateway works on the newer schema. Replace all processes with
    that version first, then run this command of the newer version. What only the newer version stored is
    lost: the columns and tables that it added. The exit status is 5 if Postgres refuses.
    """
    known = known_revisions()
    if target is not None and target not in known:
        raise click.UsageError(f"'{target}' is no revision: they are {known[0]} to {known[-1]}.")
    url = migration_url()
    before = present(url)
    if before is None:
        say("Nothing to do: the database has no schema.")
        return
    target = target or _previous(before)
    if before in known and known.index(before) <= known.index(target):
        say(f"Nothing to do: the schema is at {before} already.")
        return
    confirm(f"Take back the migrations after {target}, with what they stored?", yes=yes)
    _migrate(url, before, lambda: downgrade_schema(url, target, say))
    say(f"The schema is at {present(url)}.")


def _previous(revision: str) -> str:
    """The revision before one; the first one has none before it."""
    known = known_revisions()
    if revision not in known:
        return known[-1]
    if revision == known[0]:
        raise CommandError(
            f"{revision} is the first revision",
            ExitCode.CONFLICT,
            "To start anew, drop the database and create it again.",
        )
    return known[known.index(revision) - 1]


def _migrate(url: str, before: str | None, work: Callable[[], None]) -> None:
    try:
        work()
    except DatabaseRefusedError as error:
        raise CommandError(
            f"the database refuses: {error}",
            ExitCode.CONFLICT,
            " ".join(filter(None, (error.hint, _reached(before, present(url))))),
        ) from None


def _newer(revision: str) -> str:
    """Return the sentence about a schema that is newer than this version."""
    return (
        f"the schema is at {revision}, which is newer than {newest_revision()}, the newest that this "
        "version of the gateway knows. docs/upgrades.md says which versions work on it."
    )


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
    found = present(url)
    show({"revision": found, "head": newest_revision()}, as_json=as_json)
    if found is not None and is_newer(found):
        say(f"Newer: {_newer(found)}")
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
    totals = {kind: sum(counts[kind] for _, counts in found) for kind in KINDS}
    if not any(totals.values()):
        say("Nothing is past its retention.")
        return
    counted = ", ".join(f"{count} {kind}" for kind, count in totals.items())
    say(f"{'Would delete' if dry_run else 'Deleted'}: {counted}.")


async def _prune(
    settings: Settings, slug: str | None, *, dry_run: bool
) -> list[tuple[str, Counter[str]]]:
    # Only this command needs the whole gateway, whose import takes longer than an upgrade.
    from gateway.flows.maintain.prune import prune_now  # noqa: PLC0415
    from gateway.runtime import open_deps  # noqa: PLC0415

    async with open_deps(settings, "gateway db") as deps:
        return list((await prune_now(deps, slug, dry_run=dry_run)).items())


async def _check(url: str, *, fix: bool) -> list[dict[str, Any]]:
    from gateway.flows.maintain.check_usage import check_usage  # noqa: PLC0415 - as in _prune

    database = open_database(url, pool=1, name="gateway db")
    try:
        return [
            dict(zip(_DRIFT, (slug, one.roll_up, one.at.isoformat(), *one[2:]), strict=True))
            async for slug, one in check_usage(database, fix=fix)
        ]
    finally:
        await database.close()


def _wait_for(url: str, seconds: float) -> str | None:
    end = time.monotonic() + seconds
    while True:
        try:
            return present(url)
        except Unavailable as error:
            if isinstance(error, DatabaseDenied) or time.monotonic() >= end:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


db.add_command(partition)
