"""`gateway simulate`: a simulated upstream on this machine."""

from pathlib import Path

import click
from rich_click import RichCommand

from gateway.simulator.server import run

_FILE = click.Path(dir_okay=False, path_type=Path)
_PORT = click.IntRange(0, 65535)


@click.command(cls=RichCommand)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=_PORT, default=0, show_default=True, help="Port of the API; 0 takes a free one."
)
@click.option(
    "--files-port",
    type=_PORT,
    default=0,
    show_default=True,
    help="Port of the file store; 0 takes a free one.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of ids, scripts and faults.")
@click.option("--state-file", type=_FILE, help="File that keeps the jobs across restarts.")
@click.option(
    "--files-certificate",
    type=_FILE,
    help="PEM file with certificate and key; makes file URLs https.",
)
def simulate(
    *,
    host: str,
    port: int,
    files_port: int,
    seed: int,
    state_file: Path | None,
    files_certificate: Path | None,
) -> None:
    """Serve a simulated upstream until SIGTERM.

    It prints one line of JSON with its addresses when it is ready.
    """
    run(host, port, files_port, seed, state_file, files_certificate=files_certificate)
