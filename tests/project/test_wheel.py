"""The package works as it is built, away from the repository."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import bare_environment
from tests.conftest import at_database, run_sql

ROOT = Path(__file__).parents[2]
NAME = "t_wheel"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        (sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder),
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return next(folder.glob("*.whl"))


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    """What the wheel installs."""
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def empty_database(postgres: str) -> Iterator[str]:
    run_sql(postgres, f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)", f"CREATE DATABASE {NAME}")
    yield at_database(postgres, NAME)
    run_sql(postgres, f"DROP DATABASE {NAME} WITH (FORCE)")


def run(unpacked: Path, folder: Path, *arguments: str, **env: str) -> str:
    """What the unpacked package prints, or an error."""
    return subprocess.run(
        (sys.executable, *arguments),
        env={**bare_environment(), **env, "PYTHONPATH": str(unpacked)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_it_brings_its_migrations(unpacked: Path, tmp_path: Path, empty_database: str) -> None:
    where = "import gateway; print(gateway.__path__[0])"
    assert run(unpacked, tmp_path, "-c", where).split() == [str(unpacked / "gateway")]
    gateway = ("-m", "gateway", "db")
    run(unpacked, tmp_path, *gateway, "upgrade", GATEWAY_DATABASE_URL=empty_database)
    run(unpacked, tmp_path, *gateway, "status", GATEWAY_DATABASE_URL=empty_database)


def test_it_has_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    tops = {name.partition("/")[0].partition("-")[0] for name in names}
    assert tops == {"gateway", "job_gateway"}
    assert "gateway/migrations/env.py" in names
    assert not [name for name in names if "__pycache__" in name]


def test_it_brings_the_assets_of_the_console(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        folder = "gateway/console/static"
        manifest = json.loads(packed.read(f"{folder}/.vite/manifest.json"))
        names = set(packed.namelist())
    entry = manifest["src/console.js"]
    wanted = {entry["file"], *entry["css"], manifest["icons.svg"]["file"]}
    assert {f"{folder}/{name}" for name in wanted} <= names
    assert "gateway/console/templates/frame.html" in names
