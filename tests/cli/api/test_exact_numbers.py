"""Commands print the API's JSON, and send JSON to it, with the numbers as they were written."""

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from typing_extensions import override

from gateway.core.webhooks.signing import parse_secret, sign
from tests.cli.commands import call
from tests.cli.conftest import Running
from tests.cli.test_job import WORKFLOW

NUMBERS = "[1e400, -0, 1.0, 1.50, 12345678901234567890.123, 1E5, 123456789012345678901]"
ITEM = f'{{"id": "x", "tenant": null, "status": "SUCCEEDED", "result": {NUMBERS}, "price": 1.50}}'


@pytest.fixture
def api() -> Iterator[tuple[dict[str, str], list[bytes]]]:
    """The environment for an API that answers an item, or a list of it, and the bodies it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        @override
        def log_message(self, format: str, *args: object) -> None: ...

        def do_GET(self) -> None:
            lists = ("/v1/job", "/v1/event", "/v1/delivery")
            is_list = self.command == "GET" and self.path.partition("?")[0] in lists
            self.send_response(200)
            self.end_headers()
            self.wfile.write((f"[{ITEM}]" if is_list else ITEM).encode())

        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["content-length"] or 0)))
            self.do_GET()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}"
    yield {"GATEWAY_API": root, "GATEWAY_ACCESS_KEY": "k", "GATEWAY_OPERATOR_KEY": "k"}, bodies
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "command",
    [
        *("job get x --json", "job wait x --json", "job list --json", "job list --ndjson"),
        *("job list --json --cursor=", "event list --json", "event list --ndjson"),
        *(
            "webhook get x --json",
            "webhook list --json",
            "bulk get x --json",
            "endpoint get x --json",
        ),
        *("whoami --json", "tenant get acme --json", "queue --json", "usage --json"),
    ],
)
def test_json_is_printed_with_the_numbers_of_the_api(
    api: tuple[dict[str, str], list[bytes]], command: str
) -> None:
    result = call(*command.split(), env=api[0])
    assert result.exit_code == 0, result.stderr
    printed = " ".join(result.stdout.split()).replace("[ ", "[").replace(" ]", "]")
    assert NUMBERS in printed
    assert '"price": 1.50' in printed


def test_cells_of_csv_have_them_too(api: tuple[dict[str, str], list[bytes]]) -> None:
    told = call("event", "list", "--csv", env=api[0]).stdout
    (row,) = csv.DictReader(io.StringIO(told.lstrip("\ufeff")))
    assert (row["price"], row["result"]) == ("1.50", NUMBERS)


def test_input_is_sent_as_it_was_given(api: tuple[dict[str, str], list[bytes]]) -> None:
    arguments = ("job", "submit", "w", "--name", "n", "--params", f'{{"a": {NUMBERS}}}')
    assert call(*arguments, env=api[0]).exit_code == 0
    assert f'"params": {{"a": {NUMBERS}}}'.encode() in api[1][0]


def test_the_body_of_a_verified_webhook_has_them_too() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body, now = f'{{"type": "job.succeeded", "data": {NUMBERS}}}', int(time.time())
    signature = sign([parse_secret(secret)], "1", now, body.encode())
    headers = ("webhook-id: 1", f"webhook-timestamp: {now}", f"webhook-signature: {signature}")
    given = [part for one in headers for part in ("--header", one)]
    result = call("webhook", "verify", "--secret", secret, *given, "--json", stdin=body)
    assert result.exit_code == 0, result.stderr
    assert " ".join(result.stdout.split()).replace("[ ", "[").replace(" ]", "]") == (
        body.replace("{", "{ ").replace("}", " }")
    )


def test_a_real_gateway_gives_back_what_it_was_given(running: Running) -> None:
    params = '{"a": [1.0, 12345678901234567890.123, 1.50, 2e2], "simulate": {"runSeconds": 0.1}}'
    arguments = ("job", "submit", WORKFLOW, "--name", "exact", "--params", params, "--wait")
    printed = " ".join(call(*arguments, "--json", env=running.tenant).stdout.split())
    assert '"a": [ 1.0, 12345678901234567890.123, 1.50, 2e2 ]' in printed
    job_id = json.loads(printed)["id"]
    shown = " ".join(call("job", "get", job_id, env=running.tenant).stdout.split())
    assert '"a": [ 1.0, 12345678901234567890.123, 1.50, 2e2 ]' in shown
