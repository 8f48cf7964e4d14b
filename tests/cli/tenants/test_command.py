"""`gateway tenant` and `gateway credential` against a real gateway."""

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway.web.schemas.requests import LimitsIn
from tests.cli.commands import call
from tests.cli.conftest import Running

NO_LIMITS = {
    "maxRate": None,
    "maxEndpoints": None,
    "keepPayloadsDays": None,
    "keepJobsDays": None,
    "keepAttemptsDays": None,
    "keepEventsDays": None,
}


def shown(running: Running, *arguments: str, stdin: str = "") -> Any:
    result = call(*arguments, "--json", env=running.operator, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_life_of_a_tenant(running: Running) -> None:
    made = shown(
        running, "tenant", "create", "hooli", "--name", "Hooli", "--metadata", '{"plan": "gold"}',
        "--max-queued", "7",
    )  # fmt: skip
    assert (made["name"], made["metadata"]) == ("Hooli", {"plan": "gold"})
    assert made["limits"] == NO_LIMITS | {"maxQueued": 7, "maxInFlight": None}
    assert shown(running, "tenant", "get", "hooli") == made
    assert made in shown(running, "tenant", "list")
    assert shown(running, "tenant", "suspend", "hooli")["suspendedAt"] is not None
    assert shown(running, "tenant", "resume", "hooli")["suspendedAt"] is None
    refused = call("tenant", "delete", "hooli", env=running.operator)
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    assert shown(running, "tenant", "delete", "hooli", "--yes") == {"id": made["id"]}
    assert call("tenant", "get", "hooli", env=running.operator).exit_code == 3


def test_the_portal_of_a_tenant(running: Running) -> None:
    shown(running, "tenant", "create", "piper")
    own = {"accent": None, "logoUrl": None, "mode": None, "frameAncestors": []}
    assert shown(running, "tenant", "portal", "piper") == own
    given = ("--accent", "#1f4fd8", "--frame-ancestor", "https://a.example")
    changed = shown(running, "tenant", "portal", "piper", *given)
    assert changed == own | {"accent": "#1f4fd8", "frameAncestors": ["https://a.example"]}
    only = shown(running, "tenant", "portal", "piper", "--mode", "dark", "--accent", "")
    assert only == changed | {"mode": "dark", "accent": None}
    refused = call("tenant", "portal", "piper", "--accent", "#111111", env=running.operator)
    assert (refused.exit_code, "has a contrast of" in refused.stderr) == (2, True)
    made = shown(running, "tenant", "portal-link", "piper", "--read-only", "--page", "jobs")
    assert "/portal/link?token=jgl_" in made["url"]


def test_an_update_leaves_the_rest_as_it_was(running: Running) -> None:
    shown(running, "tenant", "create", "umbrella", "--max-in-flight", "3")
    updated = shown(running, "tenant", "update", "umbrella", "--max-queued", "5")
    assert updated["limits"] == NO_LIMITS | {"maxQueued": 5, "maxInFlight": 3}
    assert updated["name"] == "umbrella"
    updated = shown(running, "tenant", "update", "umbrella", "--max-in-flight", "default")
    assert updated["limits"] == NO_LIMITS | {"maxQueued": 5, "maxInFlight": None}
    limits = ("--max-rate", "9", "--keep-jobs-days", "0", "--keep-events-days", "7")
    updated = shown(running, "tenant", "update", "umbrella", *limits)
    given = {"maxQueued": 5, "maxInFlight": None, "maxRate": 9, "keepJobsDays": 0}
    assert updated["limits"] == NO_LIMITS | given | {"keepEventsDays": 7}
    more = ("--keep-payloads-days", "1", "--keep-attempts-days", "2", "--max-rate", "default")
    updated = shown(running, "tenant", "update", "umbrella", *more)["limits"]
    assert (updated["keepPayloadsDays"], updated["keepAttemptsDays"]) == (1, 2)
    assert (updated["maxRate"], updated["keepEventsDays"]) == (None, 7)
    updated = shown(running, "tenant", "update", "umbrella", "--name", "Umbrella")
    assert (updated["name"], updated["limits"]["maxQueued"]) == ("Umbrella", 5)
    assert call("tenant", "update", "umbrella", env=running.operator).exit_code == 2


def test_who_is_sent_the_trace_context(running: Running) -> None:
    made = shown(running, "tenant", "create", "stark", "--send-traceparent", "both")
    assert made["sendTraceparent"] == ["receivers", "upstream"]
    renamed = shown(running, "tenant", "update", "stark", "--name", "Stark")
    assert renamed["sendTraceparent"] == ["receivers", "upstream"]
    for who, sent in (("upstream", ["upstream"]), ("receivers", ["receivers"]), ("nobody", [])):
        changed = shown(running, "tenant", "update", "stark", "--send-traceparent", who)
        assert changed["sendTraceparent"] == sent


def test_a_slug_that_is_taken(running: Running) -> None:
    result = call("tenant", "create", "acme", env=running.operator)
    assert (result.exit_code, result.stdout) == (5, "")
    assert "there is a tenant 'acme' already (CONFLICT)" in result.stderr


@pytest.mark.parametrize("slug", ["Not A Slug", "../key", "%2e%2e"])
def test_a_slug_cannot_be_one(running: Running, slug: str) -> None:
    assert call("tenant", "create", slug, env=running.operator).exit_code == 2
    assert call("tenant", "get", slug, env=running.operator).exit_code == 3


@pytest.mark.parametrize("limit", ["0", "-1", "many"])
def test_a_limit_cannot_be_one(limit: str) -> None:
    result = call("tenant", "create", "x", f"--max-queued={limit}")
    assert result.exit_code == 2
    assert "whole number, at least 1" in " ".join(result.stderr.split())


def test_people_see_a_table(running: Running) -> None:
    lines = call("tenant", "list", env=running.operator).stdout.splitlines()
    assert lines[0].split()[:2] == ["SLUG", "NAME"]
    assert "acme" in [line.split()[0] for line in lines[1:]]


def test_credentials_are_tried_kept_and_never_shown(running: Running, tmp_path: Path) -> None:
    shown(running, "tenant", "create", "wonka")
    file = tmp_path / "key"
    file.write_text("sim-acme\n")
    first = shown(running, "credential", "put", "wonka", f"--api-key-file={file}")
    assert [one["version"] for one in first] == [1]
    base = f"{running.facts['simulator']}/api"
    second = shown(running, "credential", "put", "wonka", "--base-url", base, stdin="sim-globex\n")
    assert (second[0]["version"], second[0]["baseUrl"]) == (2, base)
    assert shown(running, "credential", "list", "wonka") == second
    assert "sim-" not in json.dumps(second)


def test_a_credential_that_the_upstream_refuses(running: Running) -> None:
    result = call("credential", "put", "globex", env=running.operator, stdin="nonsense\n")
    assert result.exit_code == 2
    assert "apiKey" in result.stderr
    assert "nonsense" not in result.stderr
    assert call("credential", "put", "globex", env=running.operator, stdin="\n").exit_code == 2


def test_a_tenant_is_taken_along(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "globex.ndjson"
    written = call("tenant", "export", "globex", "--output", str(file), env=running.operator)
    assert (written.exit_code, written.stdout) == (0, ""), written.stderr
    printed = call("tenant", "export", "globex", env=running.operator)
    first, *_ = (json.loads(line) for line in file.read_text().splitlines())
    assert (first["kind"], first["slug"]) == ("tenant", "globex")
    assert printed.stdout.startswith(file.read_text().splitlines()[0])
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_that_fails_leaves_no_file(running: Running, tmp_path: Path) -> None:
    file = tmp_path / "x"
    assert (
        call("tenant", "export", "nobody", "--output", str(file), env=running.operator).exit_code
        == 3
    )
    below = tmp_path / "none" / "x"
    refused = call("tenant", "export", "globex", "--output", str(below), env=running.operator)
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (2, True)
    nobody = {**running.operator, "GATEWAY_API": "http://127.0.0.1:1"}
    assert call("tenant", "export", "globex", "--output", str(file), env=nobody).exit_code == 7
    assert list(tmp_path.iterdir()) == []


def test_an_export_drives_no_terminal(running: Running) -> None:
    name = "a\x9b2J\u202e\x7f"
    call("tenant", "create", "hooli", "--name", name, env=running.operator)
    printed = call("tenant", "export", "hooli", env=running.operator)
    assert printed.exit_code == 0, printed.stderr
    assert printed.stdout.replace("\n", "").isprintable()
    assert json.loads(printed.stdout.splitlines()[0])["name"] == name


def test_an_export_that_breaks_off_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        env = {
            "GATEWAY_API": f"http://127.0.0.1:{server.getsockname()[1]}",
            "GATEWAY_OPERATOR_KEY": "k",
        }
        thread = threading.Thread(target=_half_an_answer, args=(server,))
        thread.start()
        result = call("tenant", "export", "acme", "--output", str(tmp_path / "x"), env=env)
        thread.join()
    assert "the response is incomplete" in result.stderr
    assert list(tmp_path.iterdir()) == []


def _half_an_answer(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")


def test_every_limit_has_its_option() -> None:
    told = " ".join(call("tenant", "update", "--help").stdout.split())
    options = [field.replace("_", "-") for field in LimitsIn.__struct_fields__]
    assert [option for option in options if f"--{option}" not in told] == []
