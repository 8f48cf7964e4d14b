"""Commands that only look: usage, audit, queue, workflows, and the key itself."""

import json
from typing import Any

import pytest

from gateway import __version__
from tests.cli.commands import call
from tests.cli.conftest import Running
from tests.cli.test_job import WORKFLOW, script


@pytest.fixture(scope="module", autouse=True)
def done(running: Running) -> None:
    for outcome in ({}, {"outcome": "FAILED", "errorCode": "BAD_INPUT"}):
        arguments = ("job", "submit", WORKFLOW, "--name", "u", "--params", script(**outcome))
        call(*arguments, "--wait", env=running.tenant)


def shown(*arguments: str, env: Any) -> Any:
    result = call(*arguments, "--json", env=env)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_usage(running: Running) -> None:
    told = shown("usage", "--by", "tenant,status", "--since", "1d", env=running.tenant)
    assert told["groupBy"] == ["tenant", "status"]
    table = call("usage", "--by", "tenant", env=running.tenant).stdout.splitlines()
    assert table[0].split()[:4] == ["TENANT", "JOBS", "SUCCEEDED", "FAILED"]
    assert "BAD_INPUT=" in table[1]
    csv = call("usage", "--by", "tenant", "--csv", env=running.tenant).stdout
    assert csv.lstrip("\ufeff").startswith("tenant,jobs,")
    (row,) = shown("usage", "--month", "2001-12", env=running.tenant)["rows"]
    assert row["jobs"] == 0
    narrow = call("usage", "--by", "day", env={**running.tenant, "COLUMNS": "60"}).stdout
    assert max(map(len, narrow.splitlines())) <= 60


@pytest.mark.parametrize(
    "wrong", [("--by", "moon"), ("--month", "2026-13"), ("--month", "2026-11", "--since", "1d")]
)
def test_usage_of_nonsense(running: Running, wrong: tuple[str, ...]) -> None:
    assert call("usage", *wrong, env=running.tenant).exit_code == 2


def test_audit(running: Running) -> None:
    call("tenant", "create", "audited", env=running.operator)
    newest = shown("audit", "--limit", "1", env=running.operator)[0]
    assert (newest["action"], newest["subject"]) == ("tenant.created", "audited")
    table = call("audit", env={**running.operator, "COLUMNS": "80"}).stdout.splitlines()
    assert table[0].startswith("AT ")
    assert max(map(len, table)) <= 80
    everything = call("audit", "--ndjson", env=running.operator).stdout.splitlines()
    assert len(everything) > 3


def test_queue(running: Running) -> None:
    assert "jobs" in shown("queue", env=running.operator)
    assert "Jobs" in call("queue", env=running.operator).stdout


def test_workflows(running: Running) -> None:
    slugs = [one["slug"] for one in shown("workflow", "list", env=running.tenant)["workflows"]]
    assert WORKFLOW in slugs
    assert WORKFLOW in call("workflow", "list", env=running.tenant).stdout


def test_whoami(running: Running) -> None:
    told = shown("whoami", env=running.tenant)
    assert (told["kind"], told["tenant"], told["actsFor"]) == ("tenant", "acme", "acme")
    assert (told["api"], told["version"]) == (running.facts["api"], __version__)
    assert shown("whoami", env=running.operator)["kind"] == "operator"
    both = {**running.operator, **running.tenant}
    assert shown("whoami", env=both)["kind"] == "tenant"
    assert shown("whoami", "--operator", env=both)["kind"] == "operator"
    folder = ("--data-dir", str(running.folder))
    assert shown("whoami", *folder, "--tenant", "globex", env={})["tenant"] == "globex"
    service = {
        "GATEWAY_API": running.facts["api"],
        "GATEWAY_ACCESS_KEY": running.facts["serviceKey"],
    }
    assert shown("whoami", env={**service, "GATEWAY_TENANT": "globex"})["actsFor"] == "globex"


def test_a_key_may_be_in_a_file_that_the_environment_names(running: Running, tmp_path: Any) -> None:
    file = tmp_path / "key"
    file.write_text(running.facts["operatorKey"])
    env = {"GATEWAY_API": running.facts["api"], "GATEWAY_OPERATOR_KEY_FILE": str(file)}
    assert shown("whoami", env=env)["kind"] == "operator"
    assert call("tenant", "get", "acme", env=env).exit_code == 0
