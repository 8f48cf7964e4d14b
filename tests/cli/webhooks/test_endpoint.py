"""`gateway endpoint` against a real gateway."""

import json
from pathlib import Path
from typing import Any

import pytest

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


def test_a_receiver_is_checked_step_by_step(running: Running) -> None:
    seeded = shown(running, "list")[0]["id"]
    steps = {one["step"]: one["result"] for one in shown(running, "check", seeded)["steps"]}
    assert (steps["connect"], steps["request"]) == ("ok", "ok")
    table = call("endpoint", "check", seeded, env=running.tenant)
    assert table.exit_code == 0
    assert "Connected to" in table.stdout
    made = shown(running, "create", "http://127.0.0.1:1/nobody")
    failed = call("endpoint", "check", made["id"], env=running.tenant)
    assert failed.exit_code == 1
    assert "connect:" in failed.stderr
    shown(running, "delete", made["id"], "--yes")


def test_a_secret_of_ones_own(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    url = f"{running.facts['receiver']}/hook/own"
    made = shown(running, "create", url, f"--secret-file={file}")
    assert made["secret"] == SECRET
    shown(running, "delete", made["id"], "--yes")


def signatures(running: Running, endpoint: str) -> int:
    """Send a sample to an endpoint and count the signatures on it."""
    call("trigger", "test.ping", "--endpoint", endpoint, env=running.tenant)
    arguments = ("webhook", "list", "--endpoint", endpoint, "--limit", "1", "--json")
    (newest,) = json.loads(call(*arguments, env=running.tenant).stdout)
    told = call("webhook", "get", newest["id"], "--json", env=running.tenant).stdout
    header: str = json.loads(told)["attempts"][-1]["requestHeaders"]["webhook-signature"]
    return len(header.split())


def test_a_secret_is_rotated(running: Running, tmp_path: Path) -> None:
    made = shown(running, "create", f"{running.facts['receiver']}/hook/rotated")
    new = shown(running, "rotate-secret", made["id"], "--overlap", "1h")
    assert new["secret"].startswith("whsec_")
    assert new["secret"] != made["secret"]
    assert signatures(running, made["id"]) == 2, "the old one signs beside it"

    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    given = ("--secret-file", str(file), "--overlap", "0s")
    assert shown(running, "rotate-secret", made["id"], *given)["secret"] == SECRET
    told = call("endpoint", "rotate-secret", made["id"], env=running.tenant)
    assert told.stderr == "The secret is shown only once.\n"
    assert "whsec_" in told.stdout
    shown(running, "delete", made["id"], "--yes")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("0190e3a0-0000-7000-8000-000000000000",), 3),
        (("x", "--overlap", "soon"), 2),
        (("x", "--secret-file", "/nowhere"), 2),
    ],
)
def test_a_secret_that_cannot_be_rotated(
    running: Running, arguments: tuple[str, ...], code: int
) -> None:
    result = call("endpoint", "rotate-secret", *arguments, env=running.tenant)
    assert (result.exit_code, result.stdout) == (code, "")


def test_an_event_that_does_not_exist(running: Running) -> None:
    url = f"{running.facts['receiver']}/hook/mine"
    result = call("endpoint", "create", url, "--event", "job.exploded", env=running.tenant)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "events" in result.stderr
