"""`gateway config`, and the page that it writes."""

import json
from pathlib import Path

import pytest

from gateway.cli.api.client_settings import CLIENT_SETTINGS
from gateway.settings import Settings
from tests.cli.commands import MASTER_KEY, call, settings_for

ENV = {
    "GATEWAY_DATABASE_URL": "postgresql://someone:hunter2@db:5432/gateway?password=hunter2",
    "GATEWAY_REDIS_URL": "redis://:hunter2@cache:6379/0",
    "GATEWAY_MASTER_KEY": MASTER_KEY,
    "GATEWAY_DELIVERY_DELAYS": "1, 2.5",
}
PAGE = Path(__file__).parents[3] / "docs/settings.md"


def test_settings_are_shown_with_their_origin() -> None:
    result = call("config", "show", "--json", env=ENV)
    assert result.exit_code == 0, result.stderr
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}
    assert rows["GATEWAY_DELIVERY_DELAYS"] == ("1,2.5", "environment")
    assert rows["GATEWAY_CALLBACK_PORTS"] == ("443,8443", "default")
    assert rows["GATEWAY_ALLOW_PRIVATE_CALLBACKS"] == ("false", "default")
    assert rows["GATEWAY_REDIS_URL"] == ("redis://[hidden]@cache:6379/0", "environment")
    assert rows["GATEWAY_MASTER_KEY"] == ("[hidden]", "environment")
    assert len(rows) == len(Settings.model_fields)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_secrets_stay_hidden(form: tuple[str, ...]) -> None:
    output = call("config", "show", *form, env=ENV).output
    assert "db:5432/gateway" in output
    assert "hunter2" not in output
    assert MASTER_KEY not in output


def test_valid_settings() -> None:
    result = call("config", "validate", env=ENV)
    assert (result.exit_code, result.stdout) == (0, "")


def test_a_misspelt_variable_is_a_warning_or_a_fault() -> None:
    wrong = {**ENV, "GATEWAY_DELIVER_CONCURENCY": "3"}
    said = "GATEWAY_DELIVER_CONCURENCY is not a setting; did you mean GATEWAY_DELIVER_CONCURRENCY?"
    result = call("config", "validate", env=wrong)
    assert result.exit_code == 0
    assert f"Warning: {said}" in result.stderr
    strict = call("config", "validate", "--strict", env=wrong)
    assert strict.exit_code == 2
    assert said in strict.stderr


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "redis"
    file.write_text("redis://:hunter2@files:6379/0\n")
    given = {name: text for name, text in ENV.items() if name != "GATEWAY_REDIS_URL"}
    result = call("config", "show", "--json", env={**given, "GATEWAY_REDIS_URL_FILE": str(file)})
    rows = {row["name"]: (row["value"], row["origin"]) for row in json.loads(result.stdout)}
    assert rows["GATEWAY_REDIS_URL"] == ("redis://[hidden]@files:6379/0", "file")


def test_everything_is_opened(database_url: str, redis_url: str) -> None:
    result = call("config", "validate", "--connect", env=settings_for(database_url, redis_url))
    assert result.exit_code == 0, result.stderr
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert lines == [["postgres", "ok"], ["redis", "ok"], ["master", "keys"]]
    assert "master keys  ok" in result.stdout


def test_a_replica_is_checked_too(database_url: str, redis_url: str) -> None:
    ours = {
        **settings_for(database_url, redis_url),
        "GATEWAY_READ_DATABASE_URL": database_url.replace("+asyncpg", ""),
    }
    result = call("config", "validate", "--connect", env=ours)
    assert result.exit_code == 7
    (line,) = [one for one in result.stdout.splitlines() if one.startswith("read replica")]
    assert "FAILED" in line
    assert line.endswith("it is no standby: it was promoted, or follows no primary")


def test_a_failed_check_is_named(unused_tcp_port: int) -> None:
    url = f"postgresql://gw:hunter2@127.0.0.1:{unused_tcp_port}/none"
    redis = f"redis://:hunter2@127.0.0.1:{unused_tcp_port}"
    result = call("config", "validate", "--connect", env=settings_for(url, redis))
    assert result.exit_code == 7
    postgres, second, keys = result.stdout.splitlines()
    assert postgres.startswith(f"postgres     FAILED  127.0.0.1:{unused_tcp_port}")
    assert second == f"redis        FAILED  127.0.0.1:{unused_tcp_port}: nothing listens there"
    assert keys == "master keys  FAILED  cannot be checked without Postgres"
    assert "hunter2" not in result.output


def test_invalid_settings_are_all_named_at_once() -> None:
    wrong = {**ENV, "GATEWAY_PORT": "99999", "GATEWAY_LOG_LEVEL": "loud"}
    del wrong["GATEWAY_REDIS_URL"]
    result = call("config", "validate", env=wrong)
    assert (result.exit_code, result.stdout) == (2, "")
    for name in ("GATEWAY_PORT", "GATEWAY_LOG_LEVEL", "GATEWAY_REDIS_URL: is not set"):
        assert name in result.stderr


def test_the_page_is_in_sync() -> None:
    result = call("config", "docs")
    assert result.exit_code == 0
    assert PAGE.read_text() == result.stdout, "gateway config docs > docs/settings.md"


def test_the_page_explains_every_setting() -> None:
    servers, _, clients = PAGE.read_text().partition("\n## For clients\n")
    lines = [line for line in servers.splitlines() if line.startswith("| `GATEWAY_")]
    assert len(lines) == len(Settings.model_fields)
    assert [name for name in CLIENT_SETTINGS if f"| `{name}` |" not in clients] == []
    cells = {line.split(" | ")[0].strip("| `"): line.strip("| ").split(" | ") for line in lines}
    assert cells["GATEWAY_PORT"][1:4] == ["whole number", "`8000`", "at least 0, at most 65535"]
    assert cells["GATEWAY_JOB_DEADLINE_SECONDS"][3] == "more than 0"
    assert cells["GATEWAY_DATABASE_URL"][2] == "**must be set**"
    assert cells["GATEWAY_ENV"][1] == "`production`, `dev`"
    assert cells["GATEWAY_CALLBACK_NETWORKS"][1:3] == ["list of networks", "none"]
    assert all(what for *_, what in cells.values())
