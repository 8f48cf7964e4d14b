"""The units are what systemd takes, keep each process in a sandbox, and name settings that exist."""

import re
import subprocess
from pathlib import Path

import pytest

from gateway.settings import PREFIX, Settings
from tests.deploy.tools import system_tool

UNITS = Path(__file__).parents[2] / "deploy/systemd"
INSTANCES = ("gateway-api@8001.service", "gateway-worker@9001.service", "gateway-migrate.service")
COMMAND = "/opt/gateway/bin/gateway"
# Of ten; systemd calls anything below 2 safe enough, and a unit without a sandbox has 9.6.
_MOST_EXPOSURE_IN_TENTHS = "15"


def _template(instance: str) -> str:
    return re.sub(r"@\w+", "@", instance)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All units, with a command that exists here."""
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS.iterdir():
        (folder / unit.name).write_text(unit.read_text().replace(COMMAND, "/bin/true"))
    return folder


@pytest.mark.parametrize("instance", INSTANCES)
def test_systemd_takes_the_unit(instance: str, units: Path) -> None:
    program = system_tool("systemd-analyze", "systemd")
    found = subprocess.run(
        (program, "verify", instance),
        env={"SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert [line for line in found.stderr.splitlines() if "gateway" in line] == []
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("instance", INSTANCES)
def test_the_sandbox_is_tight(instance: str, units: Path) -> None:
    program = system_tool("systemd-analyze", "systemd")
    rate = (program, "security", "--offline=true", "--no-pager")
    found = subprocess.run(
        (*rate, f"--threshold={_MOST_EXPOSURE_IN_TENTHS}", str(units / _template(instance))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout[-200:]


@pytest.mark.parametrize("instance", INSTANCES)
def test_secrets_come_as_files_and_every_variable_is_a_setting(instance: str) -> None:
    text = (UNITS / _template(instance)).read_text()
    secrets = dict(re.findall(r"^Environment=(\w+)_FILE=%d/([\w-]+)$", text, re.MULTILINE))
    loaded = re.findall(r"^LoadCredential=([\w-]+):/etc/gateway/secrets/\1$", text, re.MULTILINE)
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    named = set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text))

    assert {name.removeprefix(PREFIX).lower().replace("_", "-") for name in secrets} == set(loaded)
    assert len(secrets) == 3
    assert {name.removesuffix("_FILE") for name in named} <= known


def test_only_the_migration_is_run_once(units: Path) -> None:
    kinds = {
        unit.name: re.findall(r"^Type=(\w+)$", unit.read_text(), re.MULTILINE)
        for unit in units.iterdir()
    }
    assert kinds == {
        "gateway-api@.service": ["exec"],
        "gateway-worker@.service": ["exec"],
        "gateway-migrate.service": ["oneshot"],
    }
