"""The image, built and run by Buildah and Podman on a base image made from Debian's packages."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NAME = "localhost/job-gateway:check"
BASE = "localhost/python-slim"
# As docs/install.md and deploy/compose.yaml run it.
RIGHTS = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
_PROGRAMS = ("mmdebstrap", "buildah", "podman", "runc")
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_STORAGE = """\
[storage]
driver = "overlay"
runroot = "{folder}/run"
graphroot = "{folder}/graph"
"""
# It also works in a container that may not raise its limits and has no systemd.
_CONTAINERS = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


@dataclass(frozen=True, slots=True)
class Containers:
    """Buildah and Podman with a storage of their own."""

    folder: Path

    def run(self, *argv: str, seconds: float = 120) -> str:
        """Run one of them; its output."""
        done = subprocess.run(
            argv,
            env={
                **os.environ,
                "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
                "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            },
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"[-4000:]
            pytest.fail(f"{' '.join(argv[:2])} ended with {done.returncode}:\n{said}", False)
        return done.stdout

    def python(self, code: str) -> str:
        """What Python prints in a container of the image."""
        once = ("podman", "run", "--rm", "--network", "none", *RIGHTS)
        return self.run(*once, "--entrypoint", "python", NAME, "-c", code)

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """What Podman knows of an image or a container."""
        (found,) = json.loads(self.run("podman", kind, "inspect", name))
        return found

    @contextmanager
    def process(self, name: str, command: str, env: Mapping[str, str]) -> Iterator[str]:
        """A process of the gateway on the host's network, removed at the end."""
        pairs = [f"--env={key}={value}" for key, value in env.items()]
        start = ("podman", "run", "--detach", "--network", "host", "--name", name, *RIGHTS)
        self.run(*start, *pairs, NAME, command)
        try:
            yield name
        finally:
            self.run("podman", "rm", "--force", "--ignore", name)


def containers(folder: Path) -> Containers:
    """Both programs, or a skip that says what is missing."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"it needs root and Debian's packages {', '.join(missing or _PROGRAMS)}")
    (folder / "storage.conf").write_text(_STORAGE.format(folder=folder))
    (folder / "containers.conf").write_text(_CONTAINERS)
    return Containers(folder)


def build_base(tools: Containers, cache: Path) -> None:
    """A base image with Python 3.13, as python:3.13-slim has it; no registry is asked."""
    packages = "ca-certificates,python3,python3-venv,tzdata"
    if not cache.exists():
        part = cache.with_suffix(".part.tar")
        part.parent.mkdir(parents=True, exist_ok=True)
        make = ("mmdebstrap", "--variant=minbase", f"--include={packages}", "trixie", str(part))
        tools.run(*make, seconds=600)
        part.rename(cache)
    container = tools.run("buildah", "from", "scratch").strip()
    root = Path(tools.run("buildah", "mount", container).strip())
    tools.run("tar", "--extract", "--file", str(cache), "--directory", str(root))
    tools.run("chroot", str(root), "python3", "-m", "venv", "/usr/local")
    if _AUTHORITIES.exists():  # pip behind a proxy that inspects TLS
        shutil.copy(_AUTHORITIES, root / _AUTHORITIES.relative_to("/"))
        (root / "etc/pip.conf").write_text(f"[global]\ncert = {_AUTHORITIES}\n")
    path = "PATH=/usr/local/bin:/usr/bin:/bin"
    tools.run("buildah", "config", "--env", path, container)
    tools.run("buildah", "commit", "--quiet", "--rm", container, BASE, seconds=300)


def build_image(tools: Containers) -> None:
    """The image of the Dockerfile on that base."""
    build = ("buildah", "build", "--isolation=chroot", "--pull-never", "--format", "docker")
    arguments = ("--build-arg", f"BASE={BASE}", "--build-arg", "REVISION=0123abc")
    tools.run(*build, *arguments, "--tag", NAME, str(ROOT), seconds=900)
