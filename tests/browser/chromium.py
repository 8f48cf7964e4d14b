"""Chromium for the browser tests: the system's, or the one in the npm package @sparticuz/chromium."""

import os
import shutil
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

FOLDER = ROOT / "tests/browser"
_SYSTEM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Outside of Debian's images its libraries may be missing; the package brings those of its home.
_HOME = "AWS_Lambda_nodejs20.x"
_UNPACK = (
    'import("@sparticuz/chromium").then(async (m) => console.log(await m.default.executablePath()))'
)
_SECONDS = 300


class NoBrowserError(Exception):
    """Neither the system nor npm has a Chromium; the text says why."""


def assets_tool() -> Any:
    """The module that builds the assets, which is no part of a package."""
    name = "hatch_build"
    if name not in sys.modules:
        spec = spec_from_file_location(name, ROOT / "frontend/hatch_build.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def install() -> None:
    """Build the assets, and fetch what npm has for the tests; raises NoBrowserError."""
    tool = assets_tool()
    try:
        tool.build()
        lock, seen = FOLDER / "package-lock.json", FOLDER / "node_modules/.lock"
        if not seen.exists() or seen.read_text() != lock.read_text():
            tool.npm("ci", "--ignore-scripts", folder=FOLDER)
            seen.write_text(lock.read_text())
    except (OSError, subprocess.SubprocessError) as error:
        raise NoBrowserError(f"npm's registry or Node cannot be reached: {error}") from None


def find_chromium() -> tuple[str, dict[str, str]]:
    """The path of Chromium, and the environment that it needs; after `install`."""
    for name in _SYSTEM:
        if found := shutil.which(name):
            return found, {}
    folder = FOLDER / "node_modules/.chromium"
    folder.mkdir(exist_ok=True)
    env = {
        **assets_tool().node_environment(),
        "TMPDIR": str(folder),
        "AWS_EXECUTION_ENV": _HOME,
    }
    done = subprocess.run(
        ("node", "--eval", _UNPACK),
        cwd=FOLDER,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise NoBrowserError(f"Chromium cannot be unpacked: {done.stderr[-500:]}")
    path = done.stdout.strip()
    return path, _libraries(path, folder)


def _libraries(path: str, folder: Path) -> dict[str, str]:
    """Where to find the libraries that this machine lacks."""
    needed = subprocess.run(("ldd", path), capture_output=True, text=True, check=False).stdout
    missing = "not found" in needed
    return {**os.environ, "LD_LIBRARY_PATH": str(folder / "al2023/lib")} if missing else {}
