"""`gateway worker`: a process of the worker pool."""

import click
from rich_click import RichCommand

from gateway import worker as pool
from gateway.cli.operate.load_settings import settings_of_environment
from gateway.host import listening


@click.command(cls=RichCommand)
def worker() -> None:
    """Run jobs and deliver webhooks until SIGTERM."""
    settings = settings_of_environment()
    listening.check(settings.host, settings.worker_port)
    pool.run(settings)
