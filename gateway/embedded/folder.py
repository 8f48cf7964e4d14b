"""Locked data folders and secret files of the embedded servers."""

import base64
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from gateway.host.private_files import write_private


class FolderInUseError(Exception):
    """Another process uses this folder; the text names it."""


@contextmanager
def hold(folder: Path) -> Generator[Path]:
    """Create and lock a folder for this process, and return its full path.

    The system releases the lock when the process ends. Raises FolderInUseError.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(handle, 32).decode().strip() or "unknown"
        os.close(handle)
        raise FolderInUseError(
            f"{folder} is in use by process {holder}: stop it, or choose another folder."
        ) from None
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield folder
    finally:
        os.close(handle)


def stored_secret(file: Path) -> str:
    """Return the random text (256 bits) in this file, created at the first call with mode 0600."""
    if not file.exists():
        write_private(file, base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("="))
    return file.read_text()
