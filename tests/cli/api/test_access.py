"""Commands find the API and the key, or name what is missing."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from tests.cli.commands import call
from tests.cli.conftest import Running


def test_the_dev_in_this_folder_is_found(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gateway").symlink_to(running.folder)
    monkeypatch.chdir(tmp_path)
    assert call("tenant", "get", "acme").exit_code == 0
    assert call("job", "list").exit_code == 0
    other = json.loads(call("endpoint", "list", "--tenant", "globex", "--json").stdout)
    assert [one["url"].rpartition("/")[2] for one in other] == ["globex"]


def test_a_dev_that_is_named_comes_before_the_environment(running: Running) -> None:
    env = {"GATEWAY_API": "http://127.0.0.1:1", "GATEWAY_ACCESS_KEY": "wrong"}
    assert call("job", "list", "--data-dir", str(running.folder), env=env).exit_code == 0


def test_the_service_key_of_dev_acts_for_other_tenants(running: Running) -> None:
    folder = ("--data-dir", str(running.folder))
    assert call("tenant", "create", "cyberdyne", *folder).exit_code == 0
    listed = call("endpoint", "list", "--tenant", "cyberdyne", "--json", *folder)
    assert (listed.exit_code, listed.stdout) == (0, "[]\n")


def test_a_service_key_acts_for_the_tenant_that_is_named(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(running.facts["serviceKey"] + "\n")
    arguments = (
        "endpoint",
        "list",
        "--json",
        "--api",
        running.facts["api"],
        "--key-file",
        str(file),
    )
    listed = json.loads(call(*arguments, "--tenant", "initech").stdout)
    assert [one["url"].rpartition("/")[2] for one in listed] == ["initech"]
    nobody = call(*arguments)
    assert nobody.exit_code != 0
    assert "Gateway-Tenant" in nobody.stderr


def test_a_key_is_not_sent_to_where_a_file_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.setblocking(False)
        folder = tmp_path / ".gateway"
        folder.mkdir()
        facts = {"api": f"http://127.0.0.1:{trap.getsockname()[1]}", "operatorKey": "x"}
        (folder / "dev.json").write_text(json.dumps(facts))
        monkeypatch.chdir(tmp_path)
        result = call("tenant", "list", env={"GATEWAY_OPERATOR_KEY": "precious"})
        assert result.exit_code == 2
        assert "GATEWAY_API" in result.stderr
        with pytest.raises(BlockingIOError):
            trap.accept()


@pytest.mark.parametrize(
    ("env", "code", "words"),
    [
        ({}, 2, "start `gateway dev`"),
        ({"GATEWAY_API": "http://127.0.0.1:1"}, 4, "there is no access key"),
        ({"GATEWAY_API": "http://127.0.0.1:1", "GATEWAY_ACCESS_KEY": "k"}, 7, "does not answer"),
        ({"GATEWAY_API": "nonsense", "GATEWAY_ACCESS_KEY": "k"}, 2, "malformed"),
        ({"GATEWAY_API": "http://host:x", "GATEWAY_ACCESS_KEY": "k"}, 2, "malformed"),
        ({"GATEWAY_API": "host:80", "GATEWAY_ACCESS_KEY": "k"}, 2, "malformed"),
        ({"GATEWAY_API": "ftp://host", "GATEWAY_ACCESS_KEY": "k"}, 2, "malformed"),
        ({"GATEWAY_API": "http:///v1", "GATEWAY_ACCESS_KEY": "k"}, 2, "malformed"),
        ({"GATEWAY_API": "http://127.0.0.1:1", "GATEWAY_ACCESS_KEY": "clé"}, 2, "malformed"),
        ({"GATEWAY_API": "http://127.0.0.1:1", "GATEWAY_ACCESS_KEY": "se cret"}, 2, "malformed"),
    ],
)
def test_access_that_leads_nowhere(
    env: dict[str, str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("job", "list", env=env)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert "cret" not in result.stderr
    assert result.stderr.count("\n") <= 2


def test_a_key_that_is_not_valid(running: Running) -> None:
    env = {"GATEWAY_API": running.facts["api"], "GATEWAY_ACCESS_KEY": "jgw_nonsense"}
    result = call("job", "list", env=env)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "(UNAUTHORIZED)" in result.stderr
    assert "nonsense" not in result.stderr


class _OtherServer(BaseHTTPRequestHandler):
    @override
    def log_message(self, format: str, *args: object) -> None: ...

    def do_GET(self) -> None:
        status = 429 if self.path.startswith("/v1/endpoint") else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"<html>")


@pytest.fixture
def other_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _OtherServer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("job", "list"), 7, "is not a gateway"),
        (("job", "get", "x"), 7, "is not a gateway"),
        (("endpoint", "list"), 6, "answered 429"),
    ],
)
def test_another_kind_of_server(
    other_server: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    env = {"GATEWAY_API": other_server, "GATEWAY_ACCESS_KEY": "k"}
    result = call(*arguments, env=env)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
