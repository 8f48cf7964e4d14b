"""Servers of the system as they are packaged, in folders of their own, as an ordinary user."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme

_SECONDS = 30.0
# Of Debian's packages; a server does not run as root.
_ACCOUNTS = ("postgres", "nobody")
# What .ci/real-servers puts there.
NEWER = Path("/var/cache/gateway-tests")


@dataclass(frozen=True, slots=True)
class Certificates:
    """A private authority, and what it has issued for this machine."""

    ca: Path
    cert: Path
    key: Path


def program(name: str, *folders: str) -> str:
    """Where a program of the system is; the test is skipped where it is not installed."""
    places = os.pathsep.join([*folders, os.environ.get("PATH", ""), "/usr/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"{name} is not installed: as root, .ci/real-servers installs it")
    return found


def free_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def folder_of_server() -> Iterator[Path]:
    """A folder that belongs to the account which servers run as, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="gw-real-"))
    own(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def own(path: Path) -> None:
    """Give a file or folder to the account that servers run as, and to nobody else."""
    path.chmod(0o700 if path.is_dir() else 0o600)
    account = _account()
    if account is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def issue(folder: Path, *names: str) -> Certificates:
    """Certificates for loopback, signed by an authority of their own."""
    ca = trustme.CA()
    server = ca.issue_cert("localhost", "127.0.0.1", *names)
    paths = Certificates(folder / "ca.crt", folder / "server.crt", folder / "server.key")
    ca.cert_pem.write_to_path(paths.ca)
    server.cert_chain_pems[0].write_to_path(paths.cert)
    server.private_key_pem.write_to_path(paths.key)
    for path in (paths.ca, paths.cert, paths.key):
        own(path)
    return paths


def run(argv: Sequence[str], folder: Path, **environment: str) -> str:
    """Run a tool as the servers' account; its output."""
    done = subprocess.run(
        argv,
        **as_account(),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{argv[0]} failed:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


@contextmanager
def running(
    argv: Sequence[str], folder: Path, is_ready: Callable[[], bool], *, log: str = "log"
) -> Iterator[subprocess.Popen[Any]]:
    """A server that answers, ended with the block."""
    file = folder / log
    with file.open("ab") as output:
        process: subprocess.Popen[Any] = subprocess.Popen(
            argv,
            **as_account(),
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + _SECONDS
        while not is_ready():
            if process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{argv[0]} did not start:\n{file.read_text()}", pytrace=False)
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def listens(port: int) -> bool:
    """Whether somebody takes connections on a port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("there is no account that servers could run as")


def as_account() -> dict[str, Any]:
    """The arguments of subprocess that start a program as the account of servers."""
    account = _account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
