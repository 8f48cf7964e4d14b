"""`gateway health`: the health check of containers, so it imports little to start fast."""

import os
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

import click
from rich_click import RichCommand

from gateway.cli.terminal.failures import CommandError, ExitCode
from gateway.cli.terminal.output import print_line, say

_SECONDS = 4.0
_LOOK_AGAIN_SECONDS = 0.2
_MOST_BYTES = 500
_OK = 200
_NO_WORKER = '"workers":"none"'
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - turned into loopback
_HINT = "Is the process running? Set its address with --url, or GATEWAY_HOST and GATEWAY_PORT."


@click.command(cls=RichCommand)
@click.option("--url", help="Root of another process, such as http://host:8000.")
@click.option(
    "--wait",
    default=0.0,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait until it is ready. Default: ask once.",
)
def health(url: str | None, wait: float) -> None:
    """Check whether the process on this host is ready.

    It asks at GATEWAY_HOST and GATEWAY_PORT. If nothing listens there, it asks at GATEWAY_WORKER_PORT.
    `gateway status` shows all processes of the gateway.
    """
    end = time.monotonic() + wait
    while True:
        try:
            said = _ready(url)
        except CommandError:
            if time.monotonic() >= end:
                raise
            time.sleep(_LOOK_AGAIN_SECONDS)
        else:
            print_line(said)
            if _NO_WORKER in said:
                say("No worker is alive, so jobs wait: see `gateway status`.")
            return


def _ready(url: str | None) -> str:
    """Return the response of a process that is ready; raises CommandError."""
    unreachable: OSError | HTTPException | None = None
    for root in [url] if url else _own_roots():
        try:
            status, body = _ask(root)
        except (OSError, HTTPException) as error:
            unreachable = unreachable or error
            continue
        if status != _OK:
            raise CommandError(f"{root} answered {status}: {body}", ExitCode.UNREACHABLE)
        return body
    raise CommandError(f"nothing answers: {unreachable}", ExitCode.UNREACHABLE, _HINT)


def _own_roots() -> Iterator[str]:
    host = os.environ.get("GATEWAY_HOST", "127.0.0.1")
    host = _ANY_ADDRESS.get(host, host)
    name = f"[{host}]" if ":" in host else host
    yield f"http://{name}:{os.environ.get('GATEWAY_PORT', '8000')}"
    worker_port = os.environ.get("GATEWAY_WORKER_PORT", "0")
    if worker_port != "0":
        yield f"http://{name}:{worker_port}"


def _ask(root: str) -> tuple[int, str]:
    try:
        parts = urlsplit(root)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, parts, port = "", urlsplit(""), None
    if not host or parts.scheme not in ("http", "https"):
        raise click.UsageError(f"{root} is not the URL of a server.")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/health/ready")
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode(errors="replace").strip()
    finally:
        connection.close()
