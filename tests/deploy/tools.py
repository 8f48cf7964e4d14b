"""Programs that check deploy/; a test is skipped where its program is not installed."""

import os
import shutil
import sys
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """A program of requirements/deploy.txt."""
    path = Path(sys.executable).parent / name
    if not path.exists():
        pytest.skip(f"{name} is not installed: make deploy-tools installs it")
    return str(path)


def system_tool(name: str, package: str) -> str:
    """A program of the system."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        pytest.skip(f"{name} is not installed: it is in Debian's package {package}")
    return found
