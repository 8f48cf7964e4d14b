"""`gateway serve`: the API process."""

import click
from rich_click import RichCommand

from gateway.cli.operate.load_settings import settings_of_environment
from gateway.console import router
from gateway.host import listening
from gateway.web import server


@click.command(cls=RichCommand)
@click.option("--host", help="Address to listen on, instead of GATEWAY_HOST.")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of GATEWAY_PORT."
)
def serve(host: str | None, port: int | None) -> None:
    """Answer HTTP requests until SIGTERM."""
    given = {"host": host, "port": port}
    update = {name: value for name, value in given.items() if value is not None}
    settings = settings_of_environment().model_copy(update=update)
    listening.check(settings.host, settings.port, shared=settings.share_port)
    if settings.metrics_port:
        listening.check(settings.metrics_host or settings.host, settings.metrics_port)
    if settings.console_port:
        listening.check(settings.console_host or settings.host, settings.console_port)
    faces = [router.console_face()] if settings.console else []
    server.run(settings, faces=[*faces, *([router.portal_face()] if settings.portal else [])])
