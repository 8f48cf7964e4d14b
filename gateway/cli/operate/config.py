"""`gateway config`: show, check and explain the settings."""

import asyncio

import click
from rich_click import RichGroup

from gateway.cli.operate.connection_checks import checks
from gateway.cli.operate.load_settings import settings_of_environment
from gateway.cli.operate.settings_page import settings_page
from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import json_option, print_line, say, show
from gateway.cli.terminal.table import Column
from gateway.settings import Settings, shown_settings_of_environment, unknown_settings

_COLUMNS = (Column("name"), Column("value", least=20, folds=True), Column("origin", rank=1))


@click.group(cls=RichGroup)
def config() -> None:
    """Show, check and explain the settings."""


@config.command(name="show")
@json_option
def show_(*, as_json: bool) -> None:
    """Print every setting with its value and origin; secrets are hidden."""
    show(setting_rows(), as_json=as_json, columns=_COLUMNS)


def setting_rows() -> list[dict[str, str]]:
    """Every setting of this environment with its value and origin; secrets are hidden."""
    return [one._asdict() for one in shown_settings_of_environment()]


@config.command()
@click.option(
    "--connect", is_flag=True, help="Also connect to Postgres and Redis, and try the master keys."
)
@click.option("--strict", is_flag=True, help="Fail if a GATEWAY_ variable is not a setting.")
def validate(*, connect: bool, strict: bool) -> None:
    """Check the settings without starting anything, and name all faults.

    It warns of a variable that begins with GATEWAY_ but is not a setting.
    """
    settings = settings_of_environment()
    unknown = unknown_settings()
    for stranger in unknown:
        say(f"Warning: {stranger.text}")
    if unknown and strict:
        raise CommandError("there are variables that are not settings", ExitCode.USAGE)
    say("The settings are valid.")
    if connect and not asyncio.run(_try(settings)):
        raise CommandError("a check failed", ExitCode.UNREACHABLE)


async def _try(settings: Settings) -> bool:
    """Print one line per check; returns whether all passed."""
    is_well = True
    async for check in checks(settings):
        print_line(
            f"{check.name:<12} {'ok' if check.is_well else 'FAILED':<7} {check.text}".rstrip()
        )
        is_well &= check.is_well
    return is_well


@config.command()
def docs() -> None:
    """Print the reference of all settings as Markdown."""
    click.echo(settings_page(), nl=False)
