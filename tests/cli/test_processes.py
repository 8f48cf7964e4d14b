"""`gateway serve`, `worker` and `simulate`: started, refused, stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from gateway.embedded import free_port
from tests.cli.commands import bare_environment, call, settings_for

_SECONDS = 60


@contextmanager
def process(
    *arguments: str, env: Mapping[str, str], log: Path = Path(os.devnull)
) -> Iterator[subprocess.Popen[str]]:
    """A command that runs until the block ends, then is told to stop and has to do so well."""
    with log.open("w") as output:
        started = subprocess.Popen(
            (sys.executable, "-m", "gateway", *arguments),
            env={**bare_environment(), **env},
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
        )
    try:
        yield started
        started.send_signal(signal.SIGTERM)
        assert started.wait(_SECONDS) == 0
    finally:
        started.kill()
        started.communicate()


def wait_until_ready(url: str) -> None:
    end = time.monotonic() + _SECONDS
    while call("health", "--url", url).exit_code != 0:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_api_and_a_worker(database_url: str, redis_url: str) -> None:
    api, worker = free_port(), free_port()
    env = {
        **settings_for(database_url, redis_url),
        "GATEWAY_WORKER_PORT": str(worker),
        "GATEWAY_DRAIN_DELAY_SECONDS": "0",
        "GATEWAY_DRAIN_SECONDS": "1",
    }
    with process("serve", "--port", str(api), env=env), process("worker", env=env):
        for port in (api, worker):
            wait_until_ready(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("command", "variable"), [("serve", "GATEWAY_PORT"), ("worker", "GATEWAY_WORKER_PORT")]
)
def test_an_address_that_cannot_be_had_is_one_line(command: str, variable: str) -> None:
    env = settings_for("postgresql://u:p@127.0.0.1:1/x")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = call(command, env={**env, variable: port})
    assert result.exit_code == 1
    assert f"Error: cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    result = call(command, env={**env, "GATEWAY_HOST": "host.invalid"})
    assert result.exit_code == 1
    assert "cannot listen on host.invalid" in result.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_nothing_starts_with_wrong_settings(command: str) -> None:
    result = call(command, env={"GATEWAY_PORT": "high", "GATEWAY_MASTER_KEY": "short"})
    assert (result.exit_code, result.stdout) == (2, "")
    names = ("DATABASE_URL: is not set", "REDIS_URL: is not set", "MASTER_KEY", "PORT")
    assert [name in result.stderr for name in names] == [True] * 4


def test_the_simulator() -> None:
    with process("simulate", "--seed", "7", env={}) as started:
        assert started.stdout is not None
        url = next(iter(json.loads(started.stdout.readline()).values()))
        answer = httpx.get(f"{url}/v1/application", headers={"Authorization": "sim-acme"})
        assert answer.status_code == 200, answer.text


def test_a_free_port_is_logged_and_is_not_for_two(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    env = {
        **settings_for(database_url, redis_url),
        "GATEWAY_HOST": "localhost",
        "GATEWAY_DELIVER_CONCURENCY": "3",
        "GATEWAY_DRAIN_DELAY_SECONDS": "0",
        "GATEWAY_DRAIN_SECONDS": "1",
    }
    log = tmp_path / "log"
    with process("serve", "--port", "0", env=env, log=log):
        end = time.monotonic() + _SECONDS
        while b"api started" not in log.read_bytes():
            assert time.monotonic() < end
            time.sleep(0.05)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        (port,) = (line["port"] for line in lines if line["event"] == "api started")
        assert port > 0
        wait_until_ready(f"http://localhost:{port}")
        (warning,) = (line for line in lines if line["event"] == "a variable is not a setting")
        assert warning["nearest"] == "GATEWAY_DELIVER_CONCURRENCY"
        second = call("serve", "--port", str(port), env=env)
        assert second.exit_code == 1
        assert f"cannot listen on localhost:{port}: Address already in use" in second.stderr
        assert "GATEWAY_SHARE_PORT=true" in second.stderr
