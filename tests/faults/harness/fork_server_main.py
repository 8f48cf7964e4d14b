"""The fork server: imports the gateway once, and forks a process for each order.

tests/faults/harness/fork_server.py starts it. Orders come in as JSON lines. Each is answered by a
line with the pid of the new process, and later by one with its end. A start costs milliseconds of
CPU instead of the seconds that the imports take. The server starts no thread and draws no random
number, so processes share neither.
"""

import ctypes
import gc
import json
import os
import select
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gateway import runtime, worker
from gateway.cli import cli
from gateway.flows.health import readiness
from gateway.settings import Settings, load_settings
from gateway.simulator.server import run as simulate
from gateway.web import app, server
from gateway.web.openapi import handlers as documents

_STEP_SECONDS = 0.02
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run, with which environment, where to die, and what differs from the usual policy.

    `die_at` is a crash point, or `point:n` for the nth time that it is reached; `faults` are
    those of tests/faults/harness/fault_injection.py.
    """

    role: str
    log: str
    arguments: list[str] = field(default_factory=list[str])
    env: dict[str, str] = field(default_factory=dict[str, str])
    die_at: str = ""
    policy: dict[str, Any] = field(default_factory=dict[str, Any])
    faults: dict[str, Any] = field(default_factory=dict[str, Any])

    def line(self) -> bytes:
        """The order as it is sent."""
        return json.dumps(asdict(self)).encode() + b"\n"


def _reached(die_at: str) -> Callable[[str], None]:
    point, _, count = die_at.partition(":")
    last = int(count or "1")
    seen: Counter[str] = Counter()

    def crash_point(name: str) -> None:
        seen[name] += 1
        if name == point and seen[name] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash_point


def _override_policy(changes: Mapping[str, Any]) -> None:
    usual = runtime.policy_of
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}

    def policy_of(settings: Settings) -> Any:
        return replace(usual(settings), **values)

    runtime.policy_of = policy_of


def _run(order: Order) -> None:
    _override_policy(order.policy)
    if order.faults:
        # Not imported for all: it names parts that an older version may not have.
        import_module("tests.faults.harness.fault_injection").inject(order.faults)
    match order.role:
        case "worker":
            worker.run(load_settings(), _reached(order.die_at))
        case "serve":
            server.run(load_settings(), _reached(order.die_at))
        case "gateway":
            cli.main(order.arguments, standalone_mode=False)
        case "simulate":
            port, files_port, seed = map(int, order.arguments)
            simulate(port=port, files_port=files_port, seed=seed)
        case _:
            raise ValueError(f"no such role: {order.role}")


def _become(order: Order, fork_server: int) -> None:
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != fork_server:
        os._exit(1)
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.clear()
    os.environ.update(order.env)
    try:
        _run(order)
    except BaseException:  # noqa: BLE001 - it goes to the log, and never to the fork server
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def _fork(order: Order) -> None:
    fork_server = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, fork_server)
    _say(pid=pid)


def _say(**facts: int) -> None:
    os.write(1, json.dumps(facts).encode() + b"\n")


def _reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(ended=pid, status=os.waitstatus_to_exitcode(status))


def _prepare() -> None:
    """Make what every child would make for itself, and never changes: it takes longer than the fork."""
    with suppress(AttributeError):  # an older version has no such parts
        app.routing(metrics=True)
        documents.pages()
        readiness.needed_revision()
    gc.collect()
    gc.freeze()  # a collection in a child copies none of it


def main() -> None:
    """Serve orders until standard input is closed; the processes then end."""
    os.chdir(Path(os.sep))
    _prepare()
    unread = b""
    while True:
        if select.select([0], [], [], _STEP_SECONDS)[0]:
            heard = os.read(0, 65536)
            if not heard:
                return
            *lines, unread = (unread + heard).split(b"\n")
            for line in lines:
                _fork(Order(**json.loads(line)))
        _reap()
