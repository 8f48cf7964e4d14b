"""`gateway db partition`: partitions of the jobs by month, for 100 million kept jobs and more."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import click
from rich_click import RichGroup

from gateway import __version__
from gateway.adapters.clock import SystemClock
from gateway.cli.operate.load_settings import migration_url, settings_of_database
from gateway.cli.operate.required_schema import require_schema
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import json_option, say, show, yes_option
from gateway.core.diagnosis.findings import size_text
from gateway.store.migration.preflight import DatabaseRefusedError
from gateway.store.partitions.operations import Layout, layout, maintain, turn_off, turn_on
from gateway.store.partitions.switch_on import month_to_begin

T = TypeVar("T")

# Measured, see docs/decisions/0031-partitions-by-month.md; for a dry run.
_READ_BYTES = 200_000_000
_COPIED_BYTES = 10_000_000
# What `off` copies without asking: the jobs are locked for a second or two.
_COPIES_UNASKED = 20_000_000
_COLUMNS = ("partition", "range", "size", "rows")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@click.group(cls=RichGroup)
def partition() -> None:
    """Store the jobs in partitions by month, or in one table again.

    For installations of 100 million kept jobs and more. Needs the login that owns the tables:
    GATEWAY_MIGRATION_DATABASE_URL, or GATEWAY_DATABASE_URL. Refused while the schema is behind.
    """


@partition.command()
@dry_run_option
def on(*, dry_run: bool) -> None:
    """Partition the jobs by month, with the data in place.

    The gateway goes on working. The tables are read once, then locked for less than a second; a request waits
    at most two seconds longer for a lock that does not come at once, which is then tried again. Safe to
    interrupt, and to run again.
    """
    url, found = _look()
    month = month_to_begin(SystemClock().now())
    if found.is_on:
        say("Nothing to do: the jobs are partitioned already.")
    elif dry_run:
        say(
            f"Would read {size_text(found.size)} beside all work, about "
            f"{_seconds(found.size, _READ_BYTES)} s, then lock the jobs for less than a second. All jobs until "
            f"{month.begins:%Y-%m-%d} stay in one partition; each month from then on has its own."
        )
    elif switched := _run(turn_on(url, say, month, __version__)):
        say(
            f"The jobs are partitioned; from {month.begins:%Y-%m-%d} on each month is one. They were locked "
            f"for {switched.seconds:.1f} s. Run `gateway db partition maintain` once a day."
        )


@partition.command()
@dry_run_option
@yes_option
def off(*, dry_run: bool, yes: bool) -> None:
    """Store the jobs in one table again.

    The largest partition becomes the table, and the rows of all others are copied into it while the jobs are
    locked: requests fail with 503 meanwhile, and nothing is lost. Above 20 MB it wants --yes.
    """
    url, found = _look()
    pause = f"{size_text(found.to_copy)} to copy, about {_seconds(found.to_copy, _COPIED_BYTES)} s"
    if dry_run:
        say(f"Would lock the jobs: {pause}." if found.is_on else "Nothing to do: there are none.")
        return
    if found.to_copy > _COPIES_UNASKED and not yes:
        raise CommandError(
            f"the jobs would be locked for long: {pause}",
            ExitCode.CONFLICT,
            "Choose a quiet hour, and give --yes.",
        )
    seconds = _run(turn_off(url, say))
    if seconds is None:
        say("Nothing to do: the jobs are in one table.")
    else:
        say(f"The jobs are in one table. They were locked for {seconds:.1f} s.")


@partition.command()
@json_option
def status(*, as_json: bool) -> None:
    """Print the partitions with their ranges, sizes and estimated rows; exit status 1 if one is missing."""
    _, found = _look()
    rows = [
        {"partition": one.name, "range": one.range, "size": one.size, "rows": max(one.rows, 0)}
        for one in found.partitions
    ]
    show(rows, as_json=as_json, columns=_COLUMNS, empty="The jobs are in one table.")
    if found.unfinished:
        raise CommandError(
            "`gateway db partition on` ended half way, and inserts fail once its month begins",
            ExitCode.ERROR,
            "Run it again, or `gateway db partition off` to take it back.",
        )
    if found.late:
        raise CommandError(
            "jobs are in the default partition, because their month has none",
            ExitCode.ERROR,
            "`gateway db partition maintain` makes it and moves them; run it once a day.",
        )


@partition.command("maintain")
@dry_run_option
@json_option
def keep(*, dry_run: bool, as_json: bool) -> None:
    """Make the partitions of the next three months, and drop the months past their retention.

    Run it once a day. A month goes when no tenant keeps it, no job in or before it is open, and none in it must
    still be deleted upstream.
    """
    url = migration_url()
    require_schema(url)
    days = settings_of_database().keep_jobs_days
    done = _run(maintain(url, say, SystemClock().now(), days, dry_run=dry_run))
    if done is None:
        say("Nothing to do: the jobs are in one table.")
        return
    result: dict[str, Any] = {
        "made": [month.name for month in done.made],
        "dropped": list(done.dropped),
        "oldest": done.oldest or None,
        "because": done.because or None,
    }
    show(result, as_json=as_json)


def _look() -> tuple[str, Layout]:
    url = migration_url()
    require_schema(url)
    return url, _run(layout(url, say))


def _run(work: Awaitable[T]) -> T:
    async def run() -> T:
        return await work

    try:
        return asyncio.run(run())
    except DatabaseRefusedError as error:
        raise CommandError(
            f"the database refuses: {error}", ExitCode.CONFLICT, error.hint
        ) from None


def _seconds(size: int, rate: int) -> int:
    return max(1, round(size / rate))
