"""The simulator as a process: two ports, one event loop; prints a line of JSON when it serves.

It has a small HTTP server of its own. Resets, drips, cut responses and closed accepts need the
socket, which ASGI hides. It also uses a fraction of the CPU, which benchmarks share.
"""

import asyncio
import signal
import ssl
import sys
from pathlib import Path

import uvloop

from gateway.simulator.http.listener import Listener
from gateway.simulator.http.messages import encode_json
from gateway.simulator.jobs.journal import Journal
from gateway.simulator.service import Service
from gateway.simulator.state import State


class Simulator:
    """Both listeners of one service, to run in an existing event loop."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        files_port: int = 0,
        seed: int = 0,
        state_file: Path | None = None,
        files_tls: ssl.SSLContext | None = None,
    ) -> None:
        self._journal = None if state_file is None else Journal(state_file)
        self.state = State(seed, self._journal)
        self.service = Service(self.state)
        closes_at_once = self._closes_at_once
        self.api = Listener(self.service.answer_api, host, port, closes_at_once=closes_at_once)
        self.files = Listener(self.service.answer_files, host, files_port, tls=files_tls)

    async def start(self) -> None:
        await self.files.start()
        self.state.signer.base = self.files.base
        await self.api.start()
        self.service.go_down = self.api.go_down

    async def stop(self) -> None:
        """At once: connections are reset, answers under way are lost."""
        await self.api.stop()
        await self.files.stop()
        if self._journal is not None:
            self._journal.close()

    def _closes_at_once(self) -> bool:
        return self.state.faults.active and self.state.faults.closes_new_connection()


def run(
    host: str = "127.0.0.1",
    port: int = 0,
    files_port: int = 0,
    seed: int = 0,
    state_file: Path | None = None,
    *,
    files_certificate: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; `files_certificate` (PEM with key) makes file URLs https."""
    tls = None
    if files_certificate is not None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(files_certificate)
    simulator = Simulator(
        host=host,
        port=port,
        files_port=files_port,
        seed=seed,
        state_file=state_file,
        files_tls=tls,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(simulator))


async def _serve(simulator: Simulator) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    await simulator.start()
    addresses = {"api": simulator.api.base, "files": simulator.files.base}
    sys.stdout.write(encode_json(addresses).decode() + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await simulator.stop()
