"""Secrets in files, and variables that are not settings."""

from pathlib import Path

import pytest

from gateway.config.environment import unknown_variables
from gateway.settings import InvalidSettingsError, load_settings, unknown_settings
from tests.test_settings import KEY, NEEDED, faults, load

KNOWN = ("DELIVER_CONCURRENCY", "MAX_BODY_BYTES", "REDIS_URL", "REDIS_URL_FILE", "PORT")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("GATEWAY_DELIVER_CONCURENCY", "GATEWAY_DELIVER_CONCURRENCY"),
        ("GATEWAY_MAXBODY", "GATEWAY_MAX_BODY_BYTES"),
        ("GATEWAY_MAX_BODY", "GATEWAY_MAX_BODY_BYTES"),
        ("gateway_redis_uri", "GATEWAY_REDIS_URL"),
        ("GATEWAY_REDISURL_FILE", "GATEWAY_REDIS_URL_FILE"),
        ("GATEWAY_QWXZ", None),
    ],
)
def test_a_misspelt_name_and_the_nearest_one(name: str, nearest: str | None) -> None:
    (found,) = unknown_variables(KNOWN, [name, "PATH", "OTHER_PORT"])
    assert (found.name, found.nearest) == (name.upper(), nearest)
    assert (nearest or "is not a setting") in found.text


def test_variables_of_other_programs_are_not_reported() -> None:
    kubernetes = ("SERVICE_HOST", "SERVICE_PORT_HTTP", "PORT_8000_TCP", "PORT_8000_TCP_ADDR")
    clients = ("API", "ACCESS_KEY", "OPERATOR_KEY", "TENANT", "KEYS", "TEST_DATABASE_URL")
    assert (
        unknown_variables(KNOWN, [f"GATEWAY_{name}" for name in (*KNOWN, *kubernetes, *clients)])
        == []
    )


def test_unknown_variables_of_the_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_KEEP_JOB_DAYS", "3")
    monkeypatch.setenv("GATEWAY_MASTER_KEY_FILE", "")
    assert [(one.name, one.nearest) for one in unknown_settings()] == [
        ("GATEWAY_KEEP_JOB_DAYS", "GATEWAY_KEEP_JOBS_DAYS")
    ]


def test_every_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    proxy = "http://user:secret@10.0.0.1:3128"
    for name, text in {**NEEDED, "EGRESS_PROXY": proxy}.items():
        file = tmp_path / name
        file.write_text(f"{text}\r\n")
        monkeypatch.setenv(f"GATEWAY_{name}_FILE", str(file))
    (tmp_path / "MASTER_KEY").write_bytes(b"\xef\xbb\xbf" + KEY.encode() + b"\n")
    settings = load(monkeypatch, **dict.fromkeys(NEEDED, ""))
    assert settings.master_keys == [b"k" * 32]
    assert settings.redis_url.get_secret_value() == NEEDED["REDIS_URL"]
    assert settings.database_url.get_secret_value() == NEEDED["DATABASE_URL"]
    assert settings.egress_proxy.get_secret_value() == proxy


def test_a_faulty_file_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fault(name: str, file: Path | str) -> str:
        monkeypatch.setenv(f"GATEWAY_{name}_FILE", str(file))
        lines = faults(monkeypatch, **{name: ""})
        monkeypatch.delenv(f"GATEWAY_{name}_FILE")
        assert len(lines) == 1
        return lines[0]

    missing = tmp_path / "missing"
    assert fault("MASTER_KEY", missing) == (
        f"GATEWAY_MASTER_KEY_FILE: {missing} cannot be read: No such file or directory"
    )
    assert fault("REDIS_URL", tmp_path).endswith("cannot be read: Is a directory")
    file = tmp_path / "secret"
    for content, why in (
        (b"\n", "it is empty"),
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"x" * 70_000, "it is larger than a secret"),
    ):
        file.write_bytes(content)
        assert fault("MASTER_KEY", file) == f"GATEWAY_MASTER_KEY_FILE: {file} cannot be read: {why}"
    file.write_text("not-a-url")
    assert fault("DATABASE_URL", file).startswith("GATEWAY_DATABASE_URL_FILE: ")
    file.write_text("short")
    assert fault("MASTER_KEY", file).startswith("GATEWAY_MASTER_KEY_FILE: must be base64")


def test_a_secret_that_is_set_twice_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY)
    monkeypatch.setenv("GATEWAY_MASTER_KEY_FILE", str(file))
    assert faults(monkeypatch) == [
        "GATEWAY_MASTER_KEY_FILE: GATEWAY_MASTER_KEY is set as well; set one of them"
    ]


def test_a_variable_that_kubernetes_sets_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = faults(monkeypatch, PORT="tcp://10.0.0.1:8000")
    assert line.startswith("GATEWAY_PORT: Kubernetes has set this for a service of that name")
    with pytest.raises(InvalidSettingsError, match="enableServiceLinks: false"):
        load_settings()
