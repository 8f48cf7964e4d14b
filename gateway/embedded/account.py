"""Postgres refuses to run as root: finds the account to run it as, and opens paths for it."""

import logging
import os
import pwd
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

_NAME = "pgserver"
_TRIES = 50
_PASS, _READ, _READ_AND_PASS = 0o001, 0o004, 0o005
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine by its user and group id."""

    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Return None for an ordinary user, and for root the owner of the data directory.

    New data will belong to the system user `pgserver`, which is added if missing. Raises
    PermissionError if that fails.
    """
    if os.geteuid() != 0:
        return None
    if data.exists():
        return Account(data.stat().st_uid, data.stat().st_gid)
    failure = ""
    for _ in range(_TRIES):  # if two gateways add the user at once, one of them is locked out
        try:
            entry = pwd.getpwnam(_NAME)
        except KeyError:
            failure = _add_user()
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise PermissionError(
        f"Postgres cannot run as root, and adding the system user {_NAME} failed: {failure}. "
        "Run the gateway as an ordinary user, or add that user by hand."
    )


def _add_user() -> str:
    command = ("/usr/sbin/useradd", "--system", "--user-group", "--no-create-home", _NAME)
    try:
        added = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        return str(error)
    if added.returncode != 0:
        time.sleep(0.1)
    return added.stderr.strip()


def open_parents(target: Path) -> None:
    """Let every user pass through (not list) the directories above the target."""
    for folder in reversed(target.resolve().parents):
        mode = folder.stat().st_mode
        if not mode & _PASS:
            folder.chmod(mode | _PASS)
            _log.warning("chmod o+x %s: Postgres runs as %s and must pass through", folder, _NAME)


def open_tree(root: Path) -> None:
    """Let every user read the tree, if it was installed with a strict umask."""
    open_parents(root)
    if root.stat().st_mode & _READ_AND_PASS == _READ_AND_PASS:
        return
    for path in (root, *root.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (_READ_AND_PASS if mode & 0o100 else _READ))
