"""`gateway db`: the schema of the database."""

import asyncio
import time

import click
from rich_click import RichGroup

from gateway.cli.environment import database_url
from gateway.cli.failures import CommandError, ExitCode
from gateway.cli.output import json_option, say, show
from gateway.errors import Unavailable
from gateway.store.migrate import (
    DatabaseRefusedError,
    newest_revision,
    present_revision,
    upgrade_schema,
)

_LOOK_AGAIN_SECONDS = 0.25


@click.group(cls=RichGroup)
def db() -> None:
    """Bring the database's schema up to date.

    Needs no setting but GATEWAY_DATABASE_URL.
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

    Safe to run twice and from several places at once. A migration that cannot lock its table in 5
    seconds fails and changes nothing; run it again.
    """
    url = database_url()
    before = _wait_for(url, wait)
    try:
        upgrade_schema(url)
    except DatabaseRefusedError as error:
        raise CommandError(
            f"the database refuses a migration: {error}",
            ExitCode.CONFLICT,
            "Nothing was changed: run it again once the reason is gone.",
        ) from None
    newest = newest_revision()
    say(f"The schema is at {newest}" + (" already." if before == newest else "."))


@db.command()
@json_option
def status(*, as_json: bool) -> None:
    """Print where the schema is; exit status 5 when it is behind."""
    url = database_url()
    show({"revision": _present(url), "head": newest_revision()}, as_json=as_json)
    require_schema(url)


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
        except Unavailable:
            if time.monotonic() >= end:
                raise
        time.sleep(_LOOK_AGAIN_SECONDS)


def _present(url: str) -> str | None:
    try:
        return asyncio.run(present_revision(url))
    except DatabaseRefusedError as error:
        raise CommandError(
            f"the database refuses: {error}", ExitCode.DENIED, "Check GATEWAY_DATABASE_URL."
        ) from None
