"""Earlier versions of the code, from the history of this repository, and processes that run them.

Nothing was released yet, so each revision of the schema counts as a release: its code is the last
commit before the next migration came.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.store.migration.revisions import known_revisions
from tests.bench.harness.parts import ROOT
from tests.faults.harness.fork_server import Child
from tests.faults.harness.fork_server_main import Order

_VERSIONS = "migrations/versions"
_REVISION = re.compile(rf"^{_VERSIONS}/(\d+)_\w+\.py$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Release:
    """A revision of the schema, and the last commit of which it was the newest."""

    revision: str
    commit: str


def releases(since: str) -> list[Release]:
    """All before the newest revision, oldest first; none where the history is not at hand."""
    try:
        adding = _git(
            *("log", "--reverse", "--topo-order", "--diff-filter=A", "--format=%H", "--", _VERSIONS)
        )
        # A clone may have the newest commits only; the first commit has none before it.
        before = [f"{commit}~" for commit in adding.split() if _exists(f"{commit}~")]
        found = {_newest(commit): commit for commit in (*before, "HEAD")}
    except (OSError, subprocess.CalledProcessError):
        return []
    known = [revision for revision in known_revisions()[:-1] if revision >= since]
    return [Release(revision, found[revision]) for revision in known if revision in found]


def _exists(commit: str) -> bool:
    try:
        return bool(_git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"))
    except subprocess.CalledProcessError:
        return False


def _newest(commit: str) -> str:
    files = _git("ls-tree", "--name-only", commit, f"{_VERSIONS}/")
    return max(_REVISION.findall(files), default="")


class OldCode:
    """Starts processes of an earlier version as a fork server does, each by its command."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._processes: list[Process] = []
        self._watching: list[asyncio.Task[None]] = []

    async def start(self, order: Order) -> Child:
        """A new process; it may not answer yet. Old code can neither crash nor misbehave at will."""
        assert (order.die_at, order.policy, order.faults) == ("", {}, {})
        arguments = order.arguments if order.role == "gateway" else [order.role]
        log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "gateway", *arguments),
                env={**order.env, "PYTHONPATH": str(self._tree)},
                cwd=os.sep,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
            )
        finally:
            os.close(log)
        child = Child(process.pid)
        self._processes.append(process)
        self._watching.append(asyncio.create_task(self._watch(process, child)))
        return child

    async def _watch(self, process: Process, child: Child) -> None:
        child.end(await process.wait())

    async def end(self) -> None:
        """Kill what still runs."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*self._watching)


@asynccontextmanager
async def old_code(release: Release, folder: Path) -> AsyncGenerator[OldCode]:
    """The code of a release in a folder of its own; its processes end with the block."""
    tree, packed = folder / f"code-{release.revision}", folder / f"{release.revision}.zip"
    if not tree.exists():
        _git("archive", f"--output={packed}", release.commit, "gateway", "migrations")
        shutil.unpack_archive(packed, tree)
    code = OldCode(tree)
    try:
        yield code
    finally:
        await code.end()


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
