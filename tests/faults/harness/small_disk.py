"""A small file system that can be filled."""

import os
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from tests.faults.harness.rig import Rig

MEGABYTE = 1024 * 1024
FILLER = "filler"


def may_mount() -> bool:
    """Only root may, and in a container often not even root."""
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "tmpfs", folder], check=False, capture_output=True
        )
        if mounted.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return mounted.returncode == 0


@contextmanager
def small_disk(rig: Rig, name: str, megabytes: int) -> Generator[Path]:
    """A file system of its own that belongs to the account of Postgres."""
    disk, account = rig.folder / name, rig.postgres.part.account
    assert account is not None
    disk.mkdir()
    options = f"size={megabytes}m,mode=700,uid={account.uid},gid={account.gid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    """Fill it to the last byte, with one file."""
    full = pytest.raises(OSError, match="No space left")
    with (disk / FILLER).open("wb", buffering=0) as filler, full:
        _write_for_ever(filler)


def _write_for_ever(file: IO[bytes]) -> None:
    while True:
        file.write(bytes(MEGABYTE // 16))
