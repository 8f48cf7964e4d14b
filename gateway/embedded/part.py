"""Runs one child process with its own log, waits until it answers, and ends it with this process."""

import asyncio
import ctypes
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, cast

import psutil

from gateway.embedded.account import Account

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_LOOK_AGAIN_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1
# A part binds its port seconds after it was chosen, so the range excludes the ephemeral ports, which the
# system gives to outgoing connections meanwhile.
_PORTS = range(15_000, 32_000)
_PORT_TRIES = 1000
_libc = ctypes.CDLL(None)


class PartFailedError(Exception):
    """A child process ended or did not answer while it was starting; the text shows why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How to run one child process, and how to check that it works.

    `is_ready` gets the pid and is called repeatedly while the part starts. `clean_up` removes files of
    an earlier process before each start. `env` None means our own environment, `account` None our
    own user.
    """

    name: str
    argv: Sequence[str]
    folder: Path
    log: Path
    is_ready: Callable[[int], Awaitable[bool]]
    env: Mapping[str, str] | None = None
    account: Account | None = None
    clean_up: Callable[[], None] | None = None
    stop_signal: signal.Signals = signal.SIGTERM

    def log_tail(self, lines: int = 20) -> str:
        """Return the last lines of the part's log; empty if there is none."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on; raises PartFailedError."""
    for _ in range(_PORT_TRIES):
        port = _PORTS[int.from_bytes(os.urandom(4), "big") % len(_PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise PartFailedError("no free TCP port was found on 127.0.0.1")


async def spawn(part: Part) -> Process:
    """End a process that an earlier run left, and start the part; output is appended to its log.

    On Linux the kernel ends the part when this process dies, even by SIGKILL.
    """
    await end_leftovers(part)
    if part.clean_up is not None:
        part.clean_up()
    log = os.open(part.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        return await asyncio.create_subprocess_exec(
            *part.argv,
            cwd=part.folder,
            env=part.env,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            # Another process group: Ctrl-C then reaches only this process, which stops the parts in order.
            start_new_session=True,
            preexec_fn=_die_with(os.getpid(), part.stop_signal),
            **_as_user(part.account),
        )
    finally:
        os.close(log)


class _User(TypedDict):
    user: int | None
    group: int | None
    extra_groups: tuple[int, ...] | None


def _as_user(account: Account | None) -> _User:
    if account is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": account.uid, "group": account.gid, "extra_groups": ()}


def _die_with(parent: int, signum: int) -> Callable[[], None]:
    def ask_kernel() -> None:
        if sys.platform == "linux":
            _libc.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return ask_kernel


async def wait_ready(part: Part, process: Process) -> None:
    """Wait until the part answers.

    Raises PartFailedError if it ends first, or does not answer within 60 s.
    """
    try:
        async with asyncio.timeout(_START_SECONDS):
            while not await part.is_ready(process.pid):
                if process.returncode is not None:
                    raise PartFailedError(
                        f"{part.name} ended with status {process.returncode} while starting:"
                        f"\n{part.log_tail()}"
                    )
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    except TimeoutError:
        raise PartFailedError(
            f"{part.name} did not answer within {_START_SECONDS:.0f} s:\n{part.log_tail()}"
        ) from None


async def stop(part: Part, process: Process) -> None:
    """End the part by its own signal, and by SIGKILL after 15 s."""
    if process.returncode is None:
        process.send_signal(part.stop_signal)
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        kill(process)
        await process.wait()


def kill(process: Process) -> None:
    """Kill a part and its child processes at once."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def running(part: Part) -> AsyncGenerator[Process]:
    """Run the part with an empty log while the block runs; it answers when the block starts."""
    part.log.unlink(missing_ok=True)
    process = await spawn(part)
    try:
        await wait_ready(part, process)
        yield process
    finally:
        await stop(part, process)


async def end_leftovers(part: Part) -> None:
    """End the processes that a killed earlier run left behind."""
    leftovers = _find_leftovers(part)
    for signum in (part.stop_signal, signal.SIGKILL):
        for process in leftovers:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        _, leftovers = await asyncio.to_thread(psutil.wait_procs, leftovers, _STOP_SECONDS)


def _find_leftovers(part: Part) -> list[psutil.Process]:
    """Find processes that run the part's program in the part's folder.

    Stored pids would not do, because the system reuses them.
    """
    program = Path(part.argv[0]).resolve().name
    leftovers: list[psutil.Process] = []
    for process in psutil.process_iter(["cwd", "exe"]):
        seen = cast("dict[str, str | None]", process.info)
        if seen["cwd"] == str(part.folder) and Path(seen["exe"] or "").name.startswith(program):
            leftovers.append(process)
    return leftovers


async def run_tool(
    *argv: str, env: Mapping[str, str], account: Account | None = None, feed: str = ""
) -> str:
    """Run a program to its end and return its output; raises PartFailedError if it fails."""
    process = await asyncio.create_subprocess_exec(
        *argv, env=env, cwd="/", stdin=PIPE, stdout=PIPE, stderr=PIPE, **_as_user(account)
    )
    output, errors = await process.communicate(feed.encode())
    if process.returncode != 0:
        said = (output + errors).decode(errors="replace").strip()
        raise PartFailedError(f"{Path(argv[0]).name} failed:\n{said}")
    return output.decode()
