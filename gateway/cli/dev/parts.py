"""The parts of the gateway itself as child processes of `gateway dev`."""

import asyncio
import base64
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.embedded import Part, free_port, run_tool
from gateway.host.private_files import write_private

_HOST = "127.0.0.1"
_MASTER_KEY_BYTES = 32
_DEFAULTS = {
    "PYTHONUNBUFFERED": "1",
    "GATEWAY_DRAIN_DELAY_SECONDS": "0",  # there is no load balancer to wait for
    "GATEWAY_DRAIN_SECONDS": "8",  # a part that takes longer to stop is killed
}


class PortTakenError(Exception):
    """Another program listens on the port for the API."""


@dataclass(frozen=True, slots=True)
class Site:
    """The addresses of the HTTP parts; without a simulator the upstream is an external one."""

    api: str
    receiver: str
    simulator: str | None
    files: str


def choose_site(folder: Path, port: int, *, simulator: bool) -> Site:
    """Choose addresses for the parts; raises PortTakenError. Port 0 chooses a free one."""
    if port and _is_taken(port):
        raise PortTakenError(
            f"Port {port} is taken by another program: choose another with --port (0 takes any)."
        )
    ports = folder / "ports"
    ports.mkdir(exist_ok=True)
    receiver, upstream, files = (
        f"http://{_HOST}:{_lasting_port(ports / name)}"
        for name in ("receiver", "simulator", "files")
    )
    api = f"http://{_HOST}:{port or free_port()}"
    return Site(api, receiver, upstream if simulator else None, files)


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers bind
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False


def _lasting_port(file: Path) -> int:
    """Return the port of the last run if it is free: endpoints, credentials and jobs contain it."""
    if file.exists() and not _is_taken(port := int(file.read_text())):
        return port
    port = free_port()
    write_private(file, str(port))
    return port


def make_environment(folder: Path, site: Site, *, database: str, redis: str) -> dict[str, str]:
    """Return this process's environment, overridden by the settings for this machine."""
    settings = {
        "GATEWAY_ENV": "dev",
        "GATEWAY_DATABASE_URL": database,
        "GATEWAY_REDIS_URL": redis,
        "GATEWAY_MASTER_KEY": _master_key(folder / "master.key"),
        "GATEWAY_ALLOW_PRIVATE_CALLBACKS": "true",
        "GATEWAY_CONSOLE": "true",
        "GATEWAY_PUBLIC_URL": site.api,
    }
    if site.simulator is not None:
        settings["GATEWAY_UPSTREAM_URL"] = f"{site.simulator}/v1"
    own = {name: value for name, value in os.environ.items() if not _is_file_of(name, settings)}
    return {**_DEFAULTS, **own, **settings}


def _is_file_of(name: str, settings: Collection[str]) -> bool:
    """Whether a variable is the _FILE form of a setting that is overridden here."""
    return name.removesuffix("_FILE") in settings and name.endswith("_FILE")


def _master_key(file: Path) -> str:
    if not file.exists():
        write_private(file, base64.b64encode(os.urandom(_MASTER_KEY_BYTES)).decode())
    return file.read_text()


async def run_gateway(*arguments: str, env: Mapping[str, str]) -> str:
    """Run a gateway command and return its output; raises PartFailedError if it fails."""
    return await run_tool(sys.executable, "-m", "gateway", *arguments, env=env)


def make_api(folder: Path, site: Site, env: Mapping[str, str]) -> Part:
    """Return the part for `gateway serve`, ready when it accepts jobs."""
    port = _port_of(site.api)
    command = ("gateway", "serve", "--host", _HOST, "--port", str(port))
    return _make(folder, "api", command, env, _answers(port, "/health/ready"))


def make_worker(folder: Path, number: int, env: Mapping[str, str]) -> Part:
    """Return the part for `gateway worker`, ready when it takes work."""
    port = free_port()
    own = {**env, "GATEWAY_WORKER_PORT": str(port)}
    command = ("gateway", "worker")
    return _make(folder, f"worker-{number}", command, own, _answers(port, "/health/ready"))


def make_simulator(folder: Path, url: str, files: str, seed: int, env: Mapping[str, str]) -> Part:
    """Return the part for the simulated upstream; its jobs are kept in a file."""
    port = _port_of(url)
    ports = ("--port", str(port), "--files-port", str(_port_of(files)))
    state = ("--state-file", str(folder / "simulator.jsonl"))
    command = ("gateway.simulator", *ports, "--seed", str(seed), *state)
    return _make(folder, "simulator", command, env, _answers(port))


def make_receiver(folder: Path, url: str, env: Mapping[str, str]) -> Part:
    """Return the part for the webhook receiver; its secrets are kept in a file."""
    port = _port_of(url)
    secrets = ("--secrets", str(folder / "receiver.json"))
    command = ("gateway", "receive", "--port", str(port), *secrets)
    return _make(folder, "receiver", command, env, _answers(port))


def _make(
    folder: Path,
    name: str,
    command: tuple[str, ...],
    env: Mapping[str, str],
    is_ready: Callable[[int], Awaitable[bool]],
) -> Part:
    logs, place = folder / "logs", folder / "run" / name
    for needed in (logs, place):
        needed.mkdir(parents=True, exist_ok=True)
    return Part(
        name=name,
        argv=(sys.executable, "-m", *command),
        folder=place,
        log=logs / f"{name}.log",
        env=env,
        is_ready=is_ready,
    )


def _port_of(url: str) -> int:
    return urlsplit(url).port or 80


def _answers(port: int, path: str | None = None) -> Callable[[int], Awaitable[bool]]:
    """Return a check that the port speaks HTTP, and that the path, if any, answers 200."""
    wanted = re.compile(rb"HTTP/1\.[01] 200 " if path else rb"HTTP/1\.[01] ")
    request = f"GET {path or '/'} HTTP/1.1\r\nHost: {_HOST}\r\nConnection: close\r\n\r\n"

    async def ask(_pid: int) -> bool:
        try:
            reader, writer = await asyncio.open_connection(_HOST, port)
            try:
                writer.write(request.encode())
                return wanted.match(await reader.readline()) is not None
            finally:
                writer.close()
        except OSError:
            return False

    return ask
