"""`gateway endpoint` against a real gateway."""

import json
from pathlib import Path
from typing import Any

from tests.cli.commands import call
from tests.cli.conftest import Running

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def shown(running: Running, *arguments: str) -> Any:
    result = call("endpoint", *arguments, "--json", env=running.tenant)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_life_of_an_endpoint(running: Running) -> None:
    url = f"{running.facts['receiver']}/hook/mine"
    made = shown(running, "create", url, "--event", "job.failed", "--description", "mine")
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (made["events"], made["description"]) == (["job.failed"], "mine")
    assert shown(running, "get", made["id"]) == made
    assert made in shown(running, "list")
    assert secret not in call("endpoint", "list", env=running.tenant).stdout
    assert call("endpoint", "delete", made["id"], env=running.tenant).exit_code == 2
    assert shown(running, "delete", made["id"], "--yes") == {"id": made["id"]}
    assert call("endpoint", "get", made["id"], env=running.tenant).exit_code == 3


def test_a_secret_of_ones_own(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    url = f"{running.facts['receiver']}/hook/own"
    made = shown(running, "create", url, f"--secret-file={file}")
    assert made["secret"] == SECRET
    shown(running, "delete", made["id"], "--yes")


def test_an_event_that_does_not_exist(running: Running) -> None:
    url = f"{running.facts['receiver']}/hook/mine"
    result = call("endpoint", "create", url, "--event", "job.exploded", env=running.tenant)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "events" in result.stderr
