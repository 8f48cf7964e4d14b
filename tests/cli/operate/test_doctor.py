"""`gateway doctor` against a real gateway, and without one."""

import asyncio
import json
from pathlib import Path

import pytest

from gateway.cli.terminal.failures import ExitCode
from tests.cli.commands import MASTER_KEY, call, settings_for
from tests.cli.conftest import Running
from tests.redis_kinds import redis_server

NOWHERE = "postgresql://someone:hunter2@127.0.0.1:1/gateway"


@pytest.fixture(scope="module")
def env(running: Running) -> dict[str, str]:
    """The settings of a worker of the running gateway."""
    return {
        "GATEWAY_DATABASE_URL": running.facts["databaseUrl"],
        "GATEWAY_REDIS_URL": running.facts["redisUrl"],
        "GATEWAY_MASTER_KEY": (running.folder / "master.key").read_text().strip(),
        "GATEWAY_UPSTREAM_URL": f"{running.facts['simulator']}/v1",
    }


def test_every_part_of_a_running_gateway_is_checked(env: dict[str, str]) -> None:
    result = call("doctor", "--json", env=env)
    found = json.loads(result.stdout)
    subjects = {one["subject"] for one in found}
    assert subjects >= {
        *("settings", "redis", "postgres", "time-outs", "clock", "tables", "transactions"),
        *("master keys", "processes", "queues", "endpoints", "upstream"),
    }
    assert [one for one in found if one["level"] == "error"] == []
    # Other tests leave jobs and endpoints behind that a doctor may warn of.
    warns = any(one["level"] == "warning" for one in found)
    assert result.exit_code == (ExitCode.ERROR if warns else ExitCode.OK)


def test_people_see_what_to_do(env: dict[str, str]) -> None:
    result = call("doctor", env={**env, "GATEWAY_DELIVER_CONCURENCY": "3"})
    assert result.exit_code == ExitCode.ERROR
    first, advice = result.stdout.splitlines()[:2]
    assert first.split()[:2] == ["WARNING", "settings"]
    assert "did you mean GATEWAY_DELIVER_CONCURRENCY?" in first
    assert advice.split("What to do:")[1].strip() == "Correct its name, or drop it."
    assert "warnings: " in result.stderr


def test_what_is_away_is_an_error_and_the_rest_is_checked(env: dict[str, str]) -> None:
    result = call("doctor", "--json", env={**env, "GATEWAY_REDIS_URL": "redis://127.0.0.1:1"})
    found = json.loads(result.stdout)
    assert result.exit_code == ExitCode.UNREACHABLE
    [redis] = [one for one in found if one["subject"] == "redis"]
    assert redis["level"] == "error"
    assert "127.0.0.1:1" in redis["text"]
    assert any(one["subject"] == "upstream" for one in found)


async def test_a_redis_cluster_is_a_finding_beside_the_others(
    env: dict[str, str], tmp_path: Path
) -> None:
    async with redis_server(tmp_path / "redis", "cluster-enabled yes") as server:
        changed = {**env, "GATEWAY_REDIS_URL": f"redis://{server.place}"}
        result = await asyncio.to_thread(call, "doctor", "--json", env=changed)
    found = json.loads(result.stdout)
    [redis] = [one for one in found if one["subject"] == "redis"]
    assert "a Redis Cluster" in redis["text"]
    assert redis["advice"].startswith("Name another server")
    assert any(one["subject"] == "upstream" for one in found)


def test_settings_that_are_not_valid_are_findings(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    changed = {**env, "GATEWAY_MASTER_KEY": "short", "GATEWAY_DATABASE_POOL": "0"}
    result = call("doctor", "--json", "--bundle", str(file), "--yes", env=changed)
    assert result.exit_code == ExitCode.UNREACHABLE
    found = json.loads(result.stdout)
    assert {(one["subject"], one["level"]) for one in found} == {("settings", "error")}
    assert {one["text"].split(":")[0] for one in found} == {
        "GATEWAY_MASTER_KEY",
        "GATEWAY_DATABASE_POOL",
    }
    assert not file.exists()


def test_without_postgres_and_without_redis_the_upstream_is_asked(env: dict[str, str]) -> None:
    away = {"GATEWAY_DATABASE_URL": NOWHERE, "GATEWAY_REDIS_URL": "redis://:hunter2@127.0.0.1:1"}
    result = call("doctor", "--json", env={**env, **away})
    found = json.loads(result.stdout)
    assert result.exit_code == ExitCode.UNREACHABLE
    [upstream] = [one for one in found if one["subject"] == "upstream"]
    assert upstream["level"] == "ok"
    assert "Without Postgres" in upstream["text"]
    assert "hunter2" not in result.output


def test_the_bundle_holds_no_secret_and_is_shown_first(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    refused = call("doctor", "--bundle", str(file), env=env)
    assert refused.exit_code == ExitCode.USAGE
    assert "--yes" in refused.stderr
    assert not file.exists()
    written = call("doctor", "--bundle", str(file), "--yes", env=env)
    bundle = json.loads(file.read_text())
    assert file.read_text().strip() in written.stderr
    assert list(bundle["plans"]) == ["submit", "poll", "deliver"]
    assert {"gateway", "dependencies", "findings", "server", "tables", "queues"} <= set(bundle)
    password = env["GATEWAY_DATABASE_URL"].split("@")[0].rpartition(":")[2]
    for secret in (env["GATEWAY_MASTER_KEY"], password, "whsec_", "jgw_"):
        assert secret not in written.output + file.read_text()


def test_a_bundle_without_postgres(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    result = call("doctor", "--bundle", str(file), "--yes", env=settings_for(NOWHERE))
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "refused" in json.loads(file.read_text())["database"]
    assert "hunter2" not in result.output + file.read_text()
    assert MASTER_KEY not in result.output + file.read_text()
