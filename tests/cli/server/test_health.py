"""`gateway health`, as health checks of containers call it."""

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit

import pytest
from typing_extensions import override

from gateway.cli.server import health as module
from tests.cli.commands import bare_environment, call
from tests.cli.conftest import Running

Serve = Callable[..., int]
HEAVY = {"litestar", "sqlalchemy", "httpx", "aiohttp", "pydantic", "alembic", "arq", "redis"}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers that answer with a status; returns their ports."""
    servers: list[HTTPServer] = []

    def start(status: int, port: int = 0, *, then: int | None = None) -> int:
        """One that answers `status` at first, and then `then`."""
        answers = itertools.chain([status], itertools.repeat(then or status))

        class Handler(BaseHTTPRequestHandler):
            @override
            def log_message(self, format: str, *args: object) -> None: ...

            def do_GET(self) -> None:
                self.send_response(next(answers) if self.path == "/health/ready" else 404)
                self.end_headers()
                self.wfile.write(b'{"status": "as told"}')

        servers.append(HTTPServer(("127.0.0.1", port), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1].server_port

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_real_one_is_ready(running: Running) -> None:
    parts = urlsplit(running.facts["api"])
    env = {"GATEWAY_HOST": str(parts.hostname), "GATEWAY_PORT": str(parts.port)}
    result = call("health", env=env)
    assert (result.exit_code, json.loads(result.stdout)["status"]) == (0, "ok")
    assert call("health", "--url", running.facts["api"]).exit_code == 0


def test_health_warns_that_no_worker_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ready", lambda _: '{"status":"ok","workers":"none"}')
    result = call("health")
    assert result.exit_code == 0, "it is about the process that was asked"
    assert "No worker is alive" in result.stderr


def test_one_that_listens_everywhere_is_asked_at_home(serve: Serve) -> None:
    env = {"GATEWAY_HOST": "0.0.0.0", "GATEWAY_PORT": str(serve(200))}
    assert call("health", env=env).exit_code == 0


def test_one_that_is_not_ready(serve: Serve) -> None:
    env = {"GATEWAY_PORT": str(serve(503)), "GATEWAY_WORKER_PORT": str(serve(200))}
    result = call("health", env=env)
    assert (result.exit_code, result.stdout) == (7, "")
    assert 'answered 503: {"status": "as told"}' in result.stderr


def test_a_worker_is_asked_where_no_api_listens(serve: Serve) -> None:
    env = {"GATEWAY_PORT": "1", "GATEWAY_WORKER_PORT": str(serve(200))}
    assert call("health", env=env).exit_code == 0
    env["GATEWAY_WORKER_PORT"] = str(serve(503))
    assert call("health", env=env).exit_code == 7


def test_waiting_ends_once_it_is_ready(serve: Serve, unused_tcp_port: int) -> None:
    """At first nothing listens, then it is not ready, then it is."""
    env = {"GATEWAY_PORT": str(unused_tcp_port)}
    command = (sys.executable, "-m", "gateway", "health", "--wait", "30")
    waiting = subprocess.Popen(
        command, env={**bare_environment(), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(0.5)
    assert waiting.poll() is None
    serve(503, unused_tcp_port, then=200)
    output, errors = waiting.communicate(timeout=30)
    assert (waiting.returncode, errors) == (0, b"")
    assert json.loads(output) == {"status": "as told"}


def test_waiting_ends_when_the_time_is_over(serve: Serve) -> None:
    started = time.monotonic()
    result = call("health", "--wait", "0.5", env={"GATEWAY_PORT": str(serve(503))})
    assert 0.5 <= time.monotonic() - started < 5
    assert (result.exit_code, result.stdout) == (7, "")
    assert "answered 503" in result.stderr


@pytest.mark.parametrize("seconds", ["-1", "soon"])
def test_waiting_for_no_number_of_seconds(seconds: str) -> None:
    assert call("health", f"--wait={seconds}").exit_code == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::", "host.invalid"])
def test_nothing_listens(host: str) -> None:
    result = call("health", env={"GATEWAY_HOST": host, "GATEWAY_PORT": "1"})
    assert (result.exit_code, result.stdout) == (7, "")
    assert "nothing answers" in result.stderr


@pytest.mark.parametrize("url", ["nonsense", "ftp://host", "http://host:x", "http://", "http://["])
def test_a_url_that_is_none(url: str) -> None:
    assert call("health", "--url", url).exit_code == 2


@pytest.mark.parametrize("command", ["health", "version", "--help"])
def test_quick_commands_import_little(command: str) -> None:
    probe = (
        "import sys\n"
        "from gateway.cli import cli\n"
        f"try: cli([{command!r}])\n"
        "except SystemExit: pass\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        (sys.executable, "-c", probe),
        env={**bare_environment(), "GATEWAY_PORT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(done.stderr.splitlines()[-1].split())
    assert "click" in imported
    assert imported & HEAVY == set()
