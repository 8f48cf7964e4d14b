"""Lists as commands print them: empty ones, and CSV that a spreadsheet shows and does not run."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from typing_extensions import override

from tests.cli.commands import call

Serve = Callable[[list[Any]], dict[str, str]]
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts an API that answers every GET with a list; returns the environment for it."""
    servers: list[HTTPServer] = []

    def start(items: list[Any]) -> dict[str, str]:
        class Handler(BaseHTTPRequestHandler):
            @override
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(items).encode())

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        root = f"http://127.0.0.1:{servers[-1].server_port}"
        return {"GATEWAY_API": root, "GATEWAY_ACCESS_KEY": "k", "GATEWAY_OPERATOR_KEY": "k"}

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("webhook list", "There are no deliveries."),
        ("webhook list --status parked", "There are no deliveries that match."),
        ("event list", "There are no events."),
        ("event list --type job.failed", "There are no events that match."),
        ("job list", "There are no jobs."),
        ("job list --name x", "There are no jobs that match."),
        ("bulk list", "There are no bulk operations."),
        ("tenant list", "There are no tenants."),
        ("audit", "There are no entries."),
        ("audit --action x", "There are no entries that match."),
        ("endpoint list", "There are no endpoints: `gateway endpoint create URL` makes one."),
        ("key list", "There are no keys without a tenant; --tenant SLUG lists those of a tenant."),
        ("key list --tenant acme", "There are no keys of acme."),
        (
            "credential list acme",
            "The tenant acme has no credential: `gateway credential put acme` stores one.",
        ),
    ],
)
def test_an_empty_list_is_said_to_be_empty(serve: Serve, command: str, sentence: str) -> None:
    env = serve([])
    result = call(*command.split(), env=env)
    assert (result.exit_code, result.stderr) == (0, f"{sentence}\n")
    assert len(result.stdout.splitlines()) == 1, "the headings"
    as_json = call(*command.split(), "--json", env=env)
    assert (as_json.exit_code, json.loads(as_json.stdout), as_json.stderr) == (0, [], "")


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("event list", ("timestamp", "type", "tenant", "jobId", "id", "data")),
        ("webhook list", ("id", "type", "state", "outcome", "url", "createdAt", "lastError")),
    ],
)
def test_csv_is_harmless_in_a_spreadsheet(
    serve: Serve, command: str, fields: tuple[str, ...]
) -> None:
    rows = [dict.fromkeys(fields, formula) for formula in FORMULAS]
    rows.append(dict.fromkeys(fields, 'quote " comma , line \n escape \x1b'))
    result = call(*command.split(), "--csv", env=serve(rows))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("\ufeff"), "Excel needs the mark to read UTF-8"
    told = list(csv.DictReader(io.StringIO(result.stdout.lstrip("\ufeff"), newline="")))
    for name in fields:
        assert [row[name] for row in told] == [
            *(f"'{formula}" for formula in FORMULAS),
            'quote " comma , line \n escape \\x1b',
        ]


def test_csv_has_columns_for_whatever_the_api_tells(serve: Serve) -> None:
    rows = [{"id": "1", "data": {"a": [1, None]}}, {"id": "2", "more": True, "jobId": None}]
    told = call("event", "list", "--csv", env=serve(rows)).stdout.lstrip("\ufeff")
    first, second = csv.DictReader(io.StringIO(told, newline=""))
    assert list(first) == ["timestamp", "type", "tenant", "jobId", "id", "data", "more"]
    assert (first["data"], first["more"]) == ('{"a": [1, null]}', "")
    assert (second["data"], second["more"], second["jobId"]) == ("", "true", "")
