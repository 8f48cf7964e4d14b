"""`gateway version`."""

import click
from rich_click import RichCommand

from gateway import __version__


@click.command(cls=RichCommand)
def version() -> None:
    """Print the version."""
    click.echo(__version__)
